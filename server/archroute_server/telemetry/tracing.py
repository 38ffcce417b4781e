"""Tracing, as the rest of the server sees it; nothing here needs OpenTelemetry.

`archroute_server.telemetry.spans` does, and is imported only by `open_tracing`, only if traces are
asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from archroute_server.telemetry.finished_request import FinishedRequest
from archroute_server.telemetry.stages import StageRun

Metadata = Sequence[tuple[str, str | bytes]]
"""What came with a call, as gRPC has it: keys in lower case."""


class TracingUnavailable(Exception):
    """Traces were asked for and cannot be made; the message says what to do."""


class RequestTrace(Protocol):
    """What is traced of one request, or of a stream of them."""

    @property
    def identifiers(self) -> Mapping[str, str]:
        """`trace_id` and `span_id` in hexadecimal digits, for the log; nothing if no trace is made."""

    @property
    def sampled_trace_id(self) -> str:
        """The trace's id if it is recorded, so that it can be found; otherwise empty."""

    def describe(self, **attributes: str) -> None:
        """Add what is known of the request. Never the text of a conversation."""

    def observe(self, run: StageRun) -> None:
        """Add a stage. May be called by any thread, and after `end` by a run that nobody waited for."""

    def end(self, request: FinishedRequest) -> None:
        """Say how the request ended, and that it did."""


class Tracing(Protocol):
    """Makes the traces of a server."""

    def begin(self, method: str, metadata: Metadata = (), within: RequestTrace | None = None) -> RequestTrace:
        """Begin to trace a request now: of the call that `metadata` came with, or `within` a stream."""

    def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most. Blocks until then."""


class Untraced:
    """No tracing, and the trace of no request."""

    identifiers: Mapping[str, str] = {}
    sampled_trace_id = ""

    def begin(self, method: str, metadata: Metadata = (), within: RequestTrace | None = None) -> RequestTrace:
        """Begin nothing."""
        return self

    def describe(self, **attributes: str) -> None:
        """Describe nothing."""

    def observe(self, run: StageRun) -> None:
        """Add nothing."""

    def end(self, request: FinishedRequest) -> None:
        """End nothing."""

    def close(self) -> None:
        """Send nothing."""
