"""The access log: one line for every request, whatever became of it, and a word to whoever counts them."""

import logging
import time
from collections.abc import Callable, Sequence

from archroute_server.router.message import Message
from archroute_server.telemetry.caller_name import CallerName
from archroute_server.telemetry.finished_request import DecidedRequest, FinishedRequest
from archroute_server.telemetry.logging import log_event
from archroute_server.telemetry.tracing import Metadata, RequestTrace, Tracing, Untraced

_logger = logging.getLogger(__name__)

_MAX_IDENTIFIER_CHARACTERS = 128

REQUEST_EVENT = "request"
STREAM_EVENT = "stream"
"""The event of the line for a whole stream, which stands beside those of its requests."""

Observe = Callable[[FinishedRequest], None]


class AccessLog:
    """Opens an entry for each request. Conversations are written only if `message_text` is set.

    `observe` is told of each request at its end, and `tracing` of its way there as well.
    """

    def __init__(
        self,
        *,
        message_text: bool = False,
        observe: Observe | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._message_text = message_text
        self._observe = observe
        self._tracing = tracing or Untraced()

    def entry(
        self,
        method: str,
        *,
        event: str = REQUEST_EVENT,
        caller: CallerName | None = None,
        metadata: Metadata = (),
        within: RequestTrace | None = None,
        **identifiers: str,
    ) -> "AccessEntry":
        """Begin an entry, and with it the clock and the trace.

        The trace goes on from that in the call's `metadata`, or is part of the stream's that it is `within`.
        The caller chooses identifiers, so they are cut to size.
        """
        return AccessEntry(
            event,
            method,
            caller,
            {name: value[:_MAX_IDENTIFIER_CHARACTERS] for name, value in identifiers.items() if value},
            self._tracing.begin(method, metadata, within),
            message_text=self._message_text,
            observe=self._observe,
        )


class AccessEntry:
    """What is known of one request so far; `write` ends it."""

    def __init__(
        self,
        event: str,
        method: str,
        caller: CallerName | None,
        identifiers: dict[str, str],
        trace: RequestTrace,
        *,
        message_text: bool,
        observe: Observe | None,
    ) -> None:
        self._started = time.perf_counter()
        self._event = event
        self._method = method
        self._caller = caller
        self.trace = trace
        self._identifiers = identifiers
        self._fields: dict[str, object] = {} if caller is None else {"caller": caller.text}
        self._fields |= {**identifiers, **trace.identifiers}
        self._message_text = message_text
        self._observe = observe
        self._decided: DecidedRequest | None = None

    def elapsed(self) -> float:
        """Return the seconds since the entry began."""
        return time.perf_counter() - self._started

    def add(self, **fields: object) -> None:
        """Add fields to the line."""
        self._fields.update(fields)

    def add_conversation(self, messages: Sequence[Message]) -> None:
        """Add the text of the conversation if the log may hold it, and its size in any case."""
        self._fields["messages"] = len(messages)
        if self._message_text:
            self._fields["conversation"] = [
                {"role": message.role.value, "text": message.text} for message in messages
            ]

    def add_decision(self, decided: DecidedRequest) -> None:
        """Add what was decided, and what it took."""
        self._decided = decided
        self.add(
            outcome=decided.outcome,
            policy=decided.policy,
            probability=round(decided.probability, 6),
            prompt_tokens=decided.prompt_tokens,
            cached_tokens=decided.cached_tokens,
            dropped_tokens=decided.dropped_tokens,
            dropped_messages=decided.dropped_messages,
            forward_passes=decided.forward_passes,
            from_decision_cache=decided.from_decision_cache,
            fallback_reason=decided.fallback_reason,
            queue_ms=_milliseconds(decided.queue),
            tokenize_ms=_milliseconds(decided.tokenize),
            inference_ms=_milliseconds(decided.inference),
        )

    def write(self, code: str, level: int = logging.INFO, *, reason: str = "") -> None:
        """Write the line. `code` is the gRPC status code's name, `reason` the one that `rpc.status` gives."""
        seconds = self.elapsed()
        if reason:
            self.add(reason=reason)
        log_event(
            _logger,
            level,
            self._event,
            method=self._method,
            code=code,
            **self._fields,
            total_ms=_milliseconds(seconds),
        )
        finished = FinishedRequest(
            self._method,
            code,
            reason,
            seconds,
            stream=self._event == STREAM_EVENT,
            decided=self._decided,
            caller=self._caller,
            identifiers=self._identifiers,
            trace_id=self.trace.sampled_trace_id,
        )
        self.trace.end(finished)
        if self._observe is not None:
            self._observe(finished)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
