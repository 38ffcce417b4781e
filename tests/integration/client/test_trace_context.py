"""The trace of the caller, as the server finds it in the metadata of each call."""

from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, format_span_id, format_trace_id

from archroute import RouteRequest
from archroute.v1 import router_pb2


@pytest.fixture
def seen(service: Any) -> list[dict[str, Any]]:
    """The metadata of each call."""
    found: list[dict[str, Any]] = []

    def answer(request: object, context: grpc.ServicerContext) -> router_pb2.RouteResponse:
        found.append(dict(context.invocation_metadata()))
        return router_pb2.RouteResponse(policy="code", outcome=1)

    def answers(requests: Any, context: grpc.ServicerContext) -> Any:
        for request in requests:
            response = answer(request, context)
            yield router_pb2.RouteStreamResponse(request_id=request.request_id, response=response)

    service.answer, service.answers = answer, answers
    return found


def header(span: Span) -> str:
    context = span.get_span_context()
    ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"


def test_a_call_carries_the_current_span(client: Any, server: Any, seen: list[dict[str, Any]]) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("gateway")
    with tracer.start_as_current_span("handle the chat") as span:
        client(server.address, timeout=60).call("route", "hi")
        client(server.address, timeout=60).stream([("1", RouteRequest(messages="hi"))], lambda _: None)
    assert [metadata["traceparent"] for metadata in seen] == [header(span)] * 2


def test_without_a_span_there_is_nothing_to_carry(
    client: Any, server: Any, seen: list[dict[str, Any]]
) -> None:
    client(server.address, timeout=60).call("route", "hi")
    client(server.address, timeout=60).stream([("1", RouteRequest(messages="hi"))], lambda _: None)
    assert len(seen) == 2
    assert not any("traceparent" in metadata for metadata in seen)
