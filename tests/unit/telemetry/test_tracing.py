"""Whether there are traces, and what is said if there cannot be."""

import subprocess
import sys

import pytest

from archroute_server.rpc.servicer import SERVICE_NAME
from archroute_server.telemetry.open_tracing import open_tracing
from archroute_server.telemetry.spans import RPC_SERVICE, OpenTelemetryTracing
from archroute_server.telemetry.tracing import TracingUnavailable, Untraced

NOTHING_IMPORTED = """
import sys
import archroute, archroute_server.app
from archroute_server.telemetry.open_tracing import open_tracing
assert open_tracing(traces=False).begin("Route").identifiers == {}
from archroute.trace_context import trace_metadata
assert trace_metadata() == ()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_traces_nothing_of_opentelemetry_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_IMPORTED], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_the_extra_traces_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "archroute_server.telemetry.spans")
    # What an import finds of a package that is not installed.
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracingUnavailable, match=r"--traces needs the 'otel' extra: pip install"):
        open_tracing(traces=True)
    assert isinstance(open_tracing(traces=False), Untraced)


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http/protobuf")
    with pytest.raises(TracingUnavailable, match=f"{variable} is 'http/protobuf'"):
        open_tracing(traces=True)


def test_the_protocol_of_traces_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    open_tracing(traces=True).close()


def test_a_variable_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(TracingUnavailable, match=r"OTEL_.*soon"):
        open_tracing(traces=True)


def test_the_service_is_called_by_its_name() -> None:
    assert RPC_SERVICE == SERVICE_NAME


def test_a_disabled_sdk_makes_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracing = open_tracing(traces=True)
    assert isinstance(tracing, OpenTelemetryTracing)
    trace = tracing.begin("Route")
    assert (dict(trace.identifiers), trace.sampled_trace_id) == ({}, "")
    tracing.close()
