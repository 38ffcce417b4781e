"""The access log: one line for every request, whatever became of it."""

import logging
import time
from collections.abc import Sequence

from archroute_server.router.message import Message
from archroute_server.telemetry.logging import log_event

_logger = logging.getLogger(__name__)

_MAX_IDENTIFIER_CHARACTERS = 128


class AccessLog:
    """Opens an entry for each request. Conversations are written only if `message_text` is set."""

    def __init__(self, *, message_text: bool = False) -> None:
        self._message_text = message_text

    def entry(self, method: str, *, event: str = "request", **identifiers: str) -> "AccessEntry":
        """Begin an entry, and the clock with it. The caller chooses identifiers, so they are cut to size."""
        return AccessEntry(
            event,
            method,
            {name: value[:_MAX_IDENTIFIER_CHARACTERS] for name, value in identifiers.items() if value},
            message_text=self._message_text,
        )


class AccessEntry:
    """What is known of one request so far; `write` ends it."""

    def __init__(self, event: str, method: str, identifiers: dict[str, str], *, message_text: bool) -> None:
        self._started = time.perf_counter()
        self._event = event
        self._method = method
        self._fields: dict[str, object] = dict(identifiers)
        self._message_text = message_text

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

    def write(self, code: str, level: int = logging.INFO, **fields: object) -> None:
        """Write the line. `code` is the gRPC status code's name."""
        log_event(
            _logger,
            level,
            self._event,
            method=self._method,
            code=code,
            **self._fields,
            **fields,
            total_ms=round(self.elapsed() * 1000, 3),
        )
