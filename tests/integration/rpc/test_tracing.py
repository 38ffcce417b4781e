"""Traces of a real server: from the caller's span to each stage of the engine, to the log and the metrics."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from archroute import AsyncRouter, InvalidRequestError, RouteRequest, ServerError
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.engine.engine import Engine
from archroute_server.engine.limits import Limits
from archroute_server.metrics.http_server import MetricsServer
from archroute_server.metrics.metrics import Metrics
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.frame import ChatFrame, PromptHere, Text
from archroute_server.router.prompt import DEFAULT_VARIANT, PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from archroute_server.rpc.address import Address
from archroute_server.rpc.server import RpcServer
from archroute_server.telemetry.access_log import AccessLog
from archroute_server.telemetry.spans import OpenTelemetryTracing
from support.checkpoints import tiny_tokenizer
from support.engine_calls import IDENTITY
from support.fake_engine import FakeEngine
from support.numpy_model import NumpyModel
from support.rpc_calls import CODING, Log, ask, new_services

MARKER = "xylophone-7261"
STAGES = ["admission", "tokenize", "queue", "prefix_cache", "forward", "settle", "decide"]
ROUTE = "archroute.v1.RouterService/Route"
ROUTE_STREAM = "archroute.v1.RouterService/RouteStream"
# A caller's trace that is recorded, as its headers say; without the 1 at the end it is not.
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass
class Traced:
    """A server that traces, its address, its metrics, and the spans that have ended."""

    address: str
    metrics: Metrics
    exporter: InMemorySpanExporter

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]

    def below(self, span: ReadableSpan) -> list[ReadableSpan]:
        """Its children, in the order in which they began."""
        children = [each for each in self.spans() if each.parent and each.parent.span_id == _id(span)]
        return sorted(children, key=lambda child: child.start_time or 0)


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


@asynccontextmanager
async def traced(engine: Any) -> AsyncIterator[Traced]:
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetryTracing(SimpleSpanProcessor(exporter))
    metrics = Metrics()
    service, policy_set_service = new_services()
    server = RpcServer(
        service,
        policy_set_service,
        AccessLog(observe=metrics.requests.observe, tracing=tracing),
        max_message_bytes=2**20,
        stream_concurrency=3,
    )
    address = await server.start(Address("127.0.0.1", 0))
    service.open(engine)
    await server.open_for_calls()
    try:
        yield Traced(str(address), metrics, exporter)
    finally:
        await server.drain(0)
        await engine.close(grace=0)
        await server.stop()
        tracing.close()


@pytest.fixture
def engine() -> Engine:
    """A real one, over a random model."""
    tokenizer = Tokenizer(tiny_tokenizer())
    end = tokenizer.token_id("<|im_end|>")
    assert end is not None
    frame = ChatFrame((Text("user\n"), PromptHere(), Text("\nassistant\n")))
    encoder = PromptEncoder(PromptVariant.load(DEFAULT_VARIANT), frame, tokenizer, budget=2048)
    limits = Limits(decision_cache_entries=8)
    return Engine(NumpyModel(400), encoder, end, IDENTITY, limits)


@pytest.fixture
def application() -> Iterator[TracerProvider]:
    """The tracing of an application that calls archroute."""
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()


async def test_a_decision_is_a_span_of_the_callers_trace_with_one_for_each_stage(
    engine: Engine, application: TracerProvider, log: Log
) -> None:
    tracer = application.get_tracer("gateway")
    async with traced(engine) as server, AsyncRouter(server.address, timeout=60) as router:
        with tracer.start_as_current_span("handle the chat") as caller:
            decision = await router.route(f"please review {MARKER}", policy_set="coding")
        (span,) = server.named(ROUTE)
        stages = server.below(span)
        everything = server.spans()
    assert (span.context.trace_id, span.parent.span_id) == (
        caller.get_span_context().trace_id,
        caller.get_span_context().span_id,
    )
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is StatusCode.UNSET
    assert [stage.name for stage in stages] == STAGES
    assert len(everything) == 1 + len(stages)
    times = [time for stage in stages for time in (stage.start_time, stage.end_time)]
    assert [span.start_time, *times, span.end_time] == sorted([span.start_time, *times, span.end_time])
    expected = {
        "rpc.system.name": "grpc",
        "rpc.method": ROUTE,
        "rpc.response.status_code": "OK",
        "archroute.policy_set": "coding",
        "archroute.policy_set_revision": CODING.revision,
        "archroute.bundle": IDENTITY.bundle_digest,
        "archroute.prompt_variant": IDENTITY.prompt_variant,
        "archroute.provider": IDENTITY.provider,
        "archroute.outcome": decision.outcome.name,
        "archroute.tokens.prompt": decision.tokens.prompt_tokens,
        "archroute.tokens.cached": decision.tokens.cached_tokens,
        "archroute.forward_passes": 1,
        "archroute.from_decision_cache": False,
    }
    assert expected.items() <= dict(span.attributes).items()
    (line,) = log.lines("request")
    assert line["trace_id"] == format_trace_id(span.context.trace_id)
    assert line["span_id"] == format_span_id(span.context.span_id)
    assert span.attributes["archroute.request_id"] == line["request_id"]
    assert not any(MARKER in each.to_json() for each in everything)
    resource = span.resource.attributes
    assert resource["service.name"] == "archroute"


async def test_the_headers_are_those_of_w3c_trace_context(engine: Engine, log: Log) -> None:
    metadata = (("traceparent", TRACEPARENT), ("tracestate", "vendor=opaque"))
    async with traced(engine) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = RouterServiceStub(channel)
        await stub.Route(ask("please review"), metadata=metadata)
        await stub.Route(ask("please review"), metadata=(("traceparent", "00-nonsense"),))
        first, second = server.named(ROUTE)
    assert format_trace_id(first.context.trace_id) == TRACE_ID
    assert format_span_id(first.parent.span_id) == "00f067aa0ba902b7"
    assert first.context.trace_state.to_header() == "vendor=opaque"
    # What cannot be read counts as nothing: another trace begins.
    assert second.parent is None
    assert format_trace_id(second.context.trace_id) != TRACE_ID
    assert log.lines("request")[0]["trace_id"] == TRACE_ID


async def test_a_trace_that_the_caller_does_not_record_is_not_recorded_here(engine: Engine, log: Log) -> None:
    metadata = (("traceparent", TRACEPARENT[:-2] + "00"),)
    async with traced(engine) as server, grpc.aio.insecure_channel(server.address) as channel:
        await RouterServiceStub(channel).Route(ask("please review"), metadata=metadata)
        assert server.spans() == []
        families = await openmetrics(server.metrics)
    # Logs of several services are still found by it.
    assert [line["trace_id"] for line in log.lines("request")] == [TRACE_ID]
    assert exemplars(families) == {}


async def test_a_recalled_decision_says_so_and_runs_no_model(engine: Engine, log: Log) -> None:
    async with traced(engine) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = RouterServiceStub(channel)
        await stub.Route(ask("please review"))
        await stub.Route(ask("please review"))
        second = server.named(ROUTE)[1]
        assert [stage.name for stage in server.below(second)] == ["decide"]
    assert second.attributes["archroute.from_decision_cache"] is True


@pytest.mark.parametrize(
    ("error", "raised", "code", "status"),
    [
        (
            InvalidRequest(Violation("messages", MARKER)),
            InvalidRequestError,
            "INVALID_ARGUMENT",
            StatusCode.UNSET,
        ),
        (RuntimeError(MARKER), ServerError, "INTERNAL", StatusCode.ERROR),
    ],
)
async def test_a_failed_call_says_how_and_whose_fault_it_was(
    log: Log, error: Exception, raised: type[Exception], code: str, status: StatusCode
) -> None:
    engine = FakeEngine()
    engine.fail(f"please fix {MARKER}", error)
    async with traced(engine) as server, AsyncRouter(server.address, timeout=60) as router:
        with pytest.raises(raised):
            await router.route(f"please fix {MARKER}")
        (span,) = server.named(ROUTE)
    assert span.attributes["rpc.response.status_code"] == code
    assert span.attributes["archroute.reason"]
    assert span.status.status_code is status
    # The exception is not recorded: its message may quote the conversation.
    assert MARKER not in span.to_json()
    assert not span.events


async def test_requests_of_a_stream_are_spans_below_the_streams(
    engine: Engine, application: TracerProvider, log: Log
) -> None:
    requests = [(name, RouteRequest(messages=f"please review {name}")) for name in ("a", "b")]
    async with traced(engine) as server, AsyncRouter(server.address, timeout=60) as router:
        with application.get_tracer("gateway").start_as_current_span("a batch") as caller:
            async for _ in router.route_stream(requests, timeout=60):
                pass
        while not server.named(ROUTE_STREAM):  # It ends when the server knows that the caller is done.
            await asyncio.sleep(0)
        (stream,) = server.named(ROUTE_STREAM)
        below = server.below(stream)
        assert [[stage.name for stage in server.below(each)] for each in below] == [STAGES, STAGES]
    assert stream.parent.span_id == caller.get_span_context().span_id
    assert {each.name for each in below} == {"RouteStream request"}
    assert {each.attributes["archroute.request_id"] for each in below} == {"a", "b"}
    assert stream.attributes["archroute.stream_id"] == below[0].attributes["archroute.stream_id"]


async def openmetrics(metrics: Metrics) -> list[Any]:
    """Read the metrics as Prometheus does that stores exemplars."""

    def read() -> str:
        with closing(MetricsServer(metrics.registry, "127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.port}/metrics"
            request = urllib.request.Request(url, headers={"Accept": OPENMETRICS})
            with urllib.request.urlopen(request, timeout=30) as response:
                assert response.headers["Content-Type"].startswith("application/openmetrics-text")
                return str(response.read().decode())

    return list(text_string_to_metric_families(await asyncio.to_thread(read)))


def exemplars(families: list[Any]) -> dict[str, list[Any]]:
    """The exemplars of each metric that has some."""
    found: dict[str, list[Any]] = {}
    for family in families:
        for sample in family.samples:
            if sample.exemplar is not None:
                found.setdefault(family.name, []).append(sample.exemplar)
    return found


async def test_latencies_have_traces_for_examples(engine: Engine, log: Log) -> None:
    async with traced(engine) as server, grpc.aio.insecure_channel(server.address) as channel:
        await RouterServiceStub(channel).Route(ask("please review"), metadata=(("traceparent", TRACEPARENT),))
        found = exemplars(await openmetrics(server.metrics))
    assert found.keys() == {
        f"archroute_{part}_duration_seconds" for part in ("request", "queue", "tokenize", "inference")
    }
    for (exemplar,) in found.values():
        assert exemplar.labels == {"trace_id": TRACE_ID}
        assert exemplar.value >= 0


async def test_without_traces_there_are_no_exemplars_and_no_trace_ids(log: Log) -> None:
    engine = FakeEngine()
    metrics = Metrics()
    service, policy_set_service = new_services()
    access_log = AccessLog(observe=metrics.requests.observe)
    server = RpcServer(service, policy_set_service, access_log, max_message_bytes=2**20, stream_concurrency=3)
    address = await server.start(Address("127.0.0.1", 0))
    service.open(engine)
    async with grpc.aio.insecure_channel(str(address)) as channel:
        metadata = (("traceparent", TRACEPARENT),)
        await RouterServiceStub(channel).Route(ask("please review"), metadata=metadata)
    assert exemplars(await openmetrics(metrics)) == {}
    assert TRACE_ID not in log.text()
    await server.drain(0)
    await server.stop()
