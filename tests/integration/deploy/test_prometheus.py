"""Prometheus itself, with the alert rules of this project, reading a server's metrics."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.registry import Collector

from archroute_server.metrics.http_server import MetricsServer
from support.monitoring import RULES, dashboard_expressions, metrics_of_every_kind, rules

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="needs prometheus, a package of Debian's: apt-get install prometheus",
)

PATIENCE = 60.0
READY = "Server is ready to receive web requests"


class Visits(Collector):
    """Counts who reads the metrics, and gives none."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def collect(self) -> Iterator[Metric]:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
        return iter(())

    def wait_for(self, count: int) -> None:
        """Wait for so many visits. What an earlier one read is stored by then."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, PATIENCE)


@dataclass
class Prometheus:
    address: str

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}", timeout=30) as response:
            answer = json.load(response)
        assert answer["status"] == "success"
        return answer["data"]


@contextmanager
def running(folder: Path, target: str) -> Iterator[Prometheus]:
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "archroute", "static_configs": [{"targets": [target]}]}],
    }
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(configuration))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address={address}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as log:
        try:
            assert any(READY in line for line in log)
            # So that it is never kept waiting by a full pipe.
            reader = threading.Thread(target=log.read, daemon=True)
            reader.start()
            yield Prometheus(address)
        finally:
            process.terminate()
            process.wait(PATIENCE)
        reader.join(PATIENCE)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    metrics, visits = metrics_of_every_kind(), Visits()
    metrics.watch_readiness(lambda: True)
    metrics.registry.register(visits)
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        closing(MetricsServer(metrics.registry, "127.0.0.1", 0)) as server,
        running(folder, f"127.0.0.1:{server.port}") as prometheus,
    ):
        visits.wait_for(6)  # A rate needs two.
        yield prometheus


@pytest.mark.parametrize("expression", dashboard_expressions())
def test_every_panel_shows_something(prometheus: Prometheus, expression: str) -> None:
    assert prometheus.get("query", query=expression)["result"]


def test_every_rule_is_evaluated(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    found = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    names = {rule.get("alert") or rule["record"] for rule in rules()}
    assert found.keys() == names
    assert set(found.values()) <= {"ok", "unknown"}  # unknown: its turn has not come yet


def test_a_server_that_is_well_is_up_and_ready(prometheus: Prometheus) -> None:
    for metric in ("up", "archroute_ready"):
        (sample,) = prometheus.get("query", query=metric)["result"]
        assert sample["value"][1] == "1"
