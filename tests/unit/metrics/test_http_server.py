import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry, Counter

from archroute_server.metrics.http_server import MetricsServer
from archroute_server.metrics.metrics import Metrics
from support.scrape import scrape


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", registry=registry).inc(3)
    with closing(MetricsServer(registry, "127.0.0.1", 0)) as served:
        yield served


def test_the_metrics_are_at_their_path(server: MetricsServer) -> None:
    assert scrape(f"http://127.0.0.1:{server.port}/metrics").value("calls_total") == 3


@pytest.mark.parametrize("path", ["/", "/metrics/", "/favicon.ico"])
def test_nothing_is_anywhere_else(server: MetricsServer, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=30)
    with closing(caught.value):
        assert caught.value.code == 404


def test_a_connection_that_says_nothing_keeps_nobody_waiting(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert scrape(f"http://127.0.0.1:{server.port}/metrics").value("calls_total") == 3


def test_closing_frees_the_port_and_ends_the_thread(server: MetricsServer) -> None:
    registry = CollectorRegistry()
    first = MetricsServer(registry, "127.0.0.1", 0)
    first.close()
    closing_again = MetricsServer(registry, "127.0.0.1", first.port)
    closing_again.close()
    assert [thread.name for thread in threading.enumerate()].count("metrics") == 1  # the fixture's


def test_a_taken_port_is_refused(server: MetricsServer) -> None:
    with pytest.raises(OSError, match="in use"):
        MetricsServer(CollectorRegistry(), "127.0.0.1", server.port)


def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    assert first.registry is not second.registry


def test_what_the_process_takes_is_told() -> None:
    with closing(MetricsServer(Metrics().registry, "localhost", 0)) as served:
        found = scrape(f"http://localhost:{served.port}/metrics")
    assert found.value("process_resident_memory_bytes") > 0
    assert found.value("process_open_fds") > 0
    # No second series for each counter that says when it was made.
    assert not [name for name in found.names() if name.endswith("_created")]
