"""Traces with OpenTelemetry: a span for each request, below it one for each stage, sent over OTLP.

    archroute.v1.RouterService/Route      of the caller's trace, if it brought one (W3C Trace Context)
    ├─ admission
    ├─ tokenize
    ├─ queue
    ├─ prefix_cache
    ├─ forward
    ├─ settle
    └─ decide

A stream is a span too, with those of its requests below it. Names and attributes that are not of archroute
are those of the semantic conventions: https://opentelemetry.io/docs/specs/semconv/rpc/

The standard environment variables say where spans go and which are kept (`OTEL_EXPORTER_OTLP_*`,
`OTEL_TRACES_SAMPLER*`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, `OTEL_BSP_*`):
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Self

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from archroute_server.telemetry.finished_request import DecidedRequest, FinishedRequest
from archroute_server.telemetry.stages import StageRun
from archroute_server.telemetry.tracing import Metadata, RequestTrace, TracingUnavailable

RPC_SERVICE = "archroute.v1.RouterService"
PREFIX = "archroute."

# Of the codes of gRPC those that the conventions call errors of a server; for the others the caller is at
# fault, or will come back.
SERVER_ERRORS = frozenset(
    {"DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED", "UNKNOWN"}
)

# In the order in which the specification has the more particular one win.
_PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "grpc"

# How long a stop waits for the last spans to be sent, where a collector may be gone.
_CLOSING_SECONDS = 5.0


class OpenTelemetryTracing:
    """Makes spans, and gives them to a span processor once they end."""

    def __init__(self, processor: SpanProcessor) -> None:
        # Not the process's global provider: nothing but this server's requests is to be traced.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("archroute_server", version("archroute"))
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def over_otlp(cls) -> Self:
        """Send the spans as the environment says. Raises `TracingUnavailable`."""
        for variable in _PROTOCOL_VARIABLES:
            if protocol := os.environ.get(variable):
                if protocol != _PROTOCOL:
                    raise TracingUnavailable(
                        f"{variable} is {protocol!r}; archroute sends traces over {_PROTOCOL!r} only"
                    )
                break
        try:
            return cls(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            raise TracingUnavailable(f"an OTEL_* environment variable cannot be read: {error}") from error

    def begin(self, method: str, metadata: Metadata = (), within: RequestTrace | None = None) -> RequestTrace:
        """Begin a span as of now."""
        clock = _Clock()
        if isinstance(within, OpenTelemetryTrace):
            span = self._tracer.start_span(
                f"{method} request", context=set_span_in_context(within.span), start_time=clock.now()
            )
        else:
            span = self._tracer.start_span(
                f"{RPC_SERVICE}/{method}",
                context=self._propagator.extract(metadata, getter=_MetadataGetter()),
                kind=SpanKind.SERVER,
                attributes={"rpc.system.name": "grpc", "rpc.method": f"{RPC_SERVICE}/{method}"},
                start_time=clock.now(),
            )
        return OpenTelemetryTrace(self._tracer, span, clock)

    def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most."""
        # A provider itself would wait for half a minute. The thread ends with the process, if not before.
        closing = threading.Thread(target=self._provider.shutdown, name="closing traces", daemon=True)
        closing.start()
        closing.join(_CLOSING_SECONDS)


class OpenTelemetryTrace:
    """The span of one request, and those of its stages."""

    def __init__(self, tracer: Tracer, span: Span, clock: "_Clock") -> None:
        self.span = span
        self._tracer = tracer
        self._clock = clock
        self._context = set_span_in_context(span)

    @property
    def identifiers(self) -> Mapping[str, str]:
        """The ids, as other systems write them; nothing if OTEL_SDK_DISABLED is set."""
        context = self.span.get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}

    @property
    def sampled_trace_id(self) -> str:
        """The trace's id if it is recorded."""
        context = self.span.get_span_context()
        return format_trace_id(context.trace_id) if context.trace_flags.sampled else ""

    def describe(self, **attributes: str) -> None:
        """Add attributes under the prefix of archroute."""
        self.span.set_attributes({PREFIX + name: value for name, value in attributes.items() if value})

    def observe(self, run: StageRun) -> None:
        """Add a span for the stage, with the times that it had."""
        if not self.span.get_span_context().trace_flags.sampled:
            return
        span = self._tracer.start_span(
            run.stage.value,
            context=self._context,
            attributes={PREFIX + name: count for name, count in run.facts.items()},
            start_time=self._clock.at(run.started),
        )
        if run.error:
            span.set_attribute("error.type", run.error)
            span.set_status(StatusCode.ERROR)
        span.end(self._clock.at(run.ended))

    def end(self, request: FinishedRequest) -> None:
        """Add how it ended, and end the span."""
        span = self.span
        span.set_attribute("rpc.response.status_code", request.code)
        if request.reason:
            span.set_attribute(f"{PREFIX}reason", request.reason)
        for name, identifier in request.identifiers.items():
            span.set_attribute(PREFIX + name, identifier)
        if request.decided is not None:
            span.set_attributes(dict(_decision_attributes(request.decided)))
        if request.code in SERVER_ERRORS:
            span.set_attribute("error.type", request.reason or request.code)
            span.set_status(StatusCode.ERROR)
        span.end(self._clock.now())


class _Clock:
    """The times of spans, in nanoseconds since 1970, by the clock of stages: all of a trace by one clock."""

    def __init__(self) -> None:
        self._epoch = time.time_ns() - time.perf_counter_ns()

    def at(self, seconds: float) -> int:
        """Return the time when `time.perf_counter` gave `seconds`."""
        return self._epoch + int(seconds * 1e9)

    def now(self) -> int:
        """Return the time now."""
        return self.at(time.perf_counter())


class _MetadataGetter(Getter[Metadata]):
    """Finds headers in the metadata of a call."""

    def get(self, carrier: Metadata, key: str) -> list[str] | None:
        return [value for name, value in carrier if name == key and isinstance(value, str)] or None

    def keys(self, carrier: Metadata) -> list[str]:
        return [name for name, _ in carrier]


def _resource() -> Resource:
    ours = Resource.create({SERVICE_NAME: "archroute", SERVICE_VERSION: version("archroute")})
    # Last, so that OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    return ours.merge(OTELResourceDetector().detect())


def _decision_attributes(decided: DecidedRequest) -> Iterator[tuple[str, AttributeValue]]:
    found: dict[str, AttributeValue | None] = {
        "outcome": decided.outcome,
        "policy": decided.policy,
        "probability": decided.probability,
        "fallback_reason": decided.fallback_reason,
        "from_decision_cache": decided.from_decision_cache,
        "forward_passes": decided.forward_passes,
        "tokens.prompt": decided.prompt_tokens,
        "tokens.cached": decided.cached_tokens,
        "tokens.forced": decided.forced_tokens,
        "tokens.dropped": decided.dropped_tokens,
        "messages.dropped": decided.dropped_messages,
    }
    for name, value in found.items():
        if value is not None:
            yield PREFIX + name, value
