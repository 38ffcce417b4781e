"""A server with the settings of the image and the Deployment, watched by what watches one in production."""

import argparse
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from archroute import Router
from archroute.commands.health import command as health
from support.deployment import BASE, container_settings, image_settings
from support.monitoring import dashboard_expressions, rules
from support.promql import metric_names
from support.scrape import Scrape
from support.server_process import PATIENCE, ServerProcess, clean_environment, serving

STAGES = {"admission", "tokenize", "queue", "prefix_cache", "forward", "settle", "decide"}
ROUTE = "archroute.v1.RouterService/Route"
# Prometheus' own, and what no request has made yet.
# Those of certificates and access rules, which this server has none of.
OF_FILES_READ_AGAIN = {"archroute_last_reload_successful", "archroute_certificate_expiry_timestamp_seconds"}
NOT_SERVED = {"up", "archroute_streams_total", *OF_FILES_READ_AGAIN}


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans over OTLP, as an OpenTelemetry Collector does."""

    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def Export(  # noqa: N802 - named by the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        with self.changed:
            for sent in request.resource_spans:
                attributes = {each.key: each.value.string_value for each in sent.resource.attributes}
                self.services.add(attributes["service.name"])
                for scope in sent.scope_spans:
                    self.spans.extend(scope.spans)
            self.changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def below(self, name: str) -> set[str]:
        """The names of the spans below that of this name."""
        parents = {span.span_id for span in self.spans if span.name == name}
        return {span.name for span in self.spans if span.parent_span_id in parents}


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    """A collector, and its address."""
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield collector, address
    server.stop(None).wait()


@pytest.fixture(scope="module")
def deployed(bundle: Path, collector: tuple[Collector, str]) -> Iterator[ServerProcess]:
    """The server, with paths and ports of this machine, that has made one decision."""
    variables = image_settings() | container_settings()
    variables |= {
        "ARCHROUTE_MODEL": str(bundle),
        "ARCHROUTE_POLICIES": str(BASE / "policies.yaml"),
        "ARCHROUTE_LISTEN": variables["ARCHROUTE_LISTEN"].replace("50051", "0"),
        "ARCHROUTE_METRICS_LISTEN": variables["ARCHROUTE_METRICS_LISTEN"].replace("9464", "0"),
        "ARCHROUTE_TRACES": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_SERVICE_NAME": "router-of-the-test",
    }
    with serving(environment=clean_environment(variables)) as server:
        server.wait_for("ready")
        with Router(local(server.address), timeout=60) as router:
            assert router.route("Plan three days in Lisbon").outcome
        yield server
        assert server.stop() == 0


def local(address: str) -> str:
    """Where this machine reaches a server that listens everywhere."""
    return address.replace("0.0.0.0", "127.0.0.1")


@pytest.fixture(scope="module")
def metrics(deployed: ServerProcess) -> str:
    served = deployed.wait_for("serving metrics")
    with urllib.request.urlopen(f"http://{local(served['address'])}{served['path']}", timeout=30) as response:
        return str(response.read().decode())


def test_the_health_command_says_that_it_serves(
    deployed: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    health.add_arguments(parser)
    assert health.run(parser.parse_args([local(deployed.address), "--timeout", "60"])) == 0
    assert capsys.readouterr().out == "SERVING\n"


def test_every_metric_that_is_watched_is_served(metrics: str) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    served = Scrape.read(metrics).names()
    for expression in [*(rule["expr"] for rule in rules()), *dashboard_expressions()]:
        assert metric_names(expression) <= served | recorded | NOT_SERVED


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus")
def test_promtool_accepts_the_metrics_of_a_running_server(metrics: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_its_traces_arrive(deployed: ServerProcess, collector: tuple[Collector, str]) -> None:
    receiver = collector[0]
    with receiver.changed:
        assert receiver.changed.wait_for(lambda: receiver.below(ROUTE) == STAGES, PATIENCE), receiver.spans
    assert receiver.services == {"router-of-the-test"}
    (line,) = deployed.events("request")
    assert {span.trace_id.hex() for span in receiver.spans} == {line["trace_id"]}


def test_a_collector_that_is_gone_does_not_keep_it_from_stopping(bundle: Path) -> None:
    variables = {"ARCHROUTE_TRACES": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    arguments = ("--model", bundle, "--listen", "127.0.0.1:0")
    with serving(*arguments, environment=clean_environment(variables)) as server:
        server.wait_for("ready")
        with Router(server.address, timeout=60) as router:
            router.route("Hello", policies=[{"name": "a", "description": "Anything"}])
        assert server.stop() == 0
    assert server.events("stopped")
