"""Structured logs: one event a line, as JSON for machines or as text for a terminal.

What a log may hold is decided here rather than at each call: an exception is written as its type and the
lines of code it passed through, without its message, because the message of an unforeseen exception may quote
the conversation. Libraries' loggers go through the same formatters.
"""

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

SERVER_LOGGER = "archroute_server"

_logger = logging.getLogger(__name__)


class LogFormat(StrEnum):
    """How events are written. AUTO is TEXT if the stream is a terminal and JSON if not."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


def configure_logging(
    log_format: LogFormat, level: str, *, exception_messages: bool = False, stream: TextIO | None = None
) -> None:
    """Send every logger of the process to `stream`, standard error unless given.

    `level` applies to the server's own loggers, such as "info"; libraries are heard from WARNING on.
    `exception_messages` writes the messages of exceptions too, which may quote a conversation.
    """
    stream = sys.stderr if stream is None else stream
    if log_format is LogFormat.AUTO:
        log_format = LogFormat.TEXT if stream.isatty() else LogFormat.JSON
    formatter = TextFormatter if log_format is LogFormat.TEXT else JsonFormatter
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(exception_messages=exception_messages))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(SERVER_LOGGER).setLevel(level.upper())
    logging.captureWarnings(capture=True)


def log_event(
    logger: logging.Logger,
    level: int,
    event: str,
    exception: BaseException | None = None,
    /,
    **fields: object,
) -> None:
    """Log `event`, a few constant words, with what varies in `fields`, which JSON can hold."""
    logger.log(level, event, exc_info=exception, extra={"fields": fields})


def log_unhandled(loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    """Log what an event loop could not deliver to anyone; an asyncio exception handler.

    The loop's own handler would write the exception's message.
    """
    exception = context.get("exception")
    log_event(
        _logger,
        logging.ERROR,
        "unhandled error in the event loop",
        exception if isinstance(exception, BaseException) else None,
        reason=context["message"],
    )


class _Formatter(logging.Formatter):
    def __init__(self, *, exception_messages: bool) -> None:
        super().__init__()
        self._exception_messages = exception_messages

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = self._describe(record.exc_info[1])
        return fields

    def _describe(self, error: BaseException) -> list[dict[str, object]]:
        """Return the exception and what caused it, outermost first."""
        described = []
        for link in _chain(error):
            entry: dict[str, object] = {"type": f"{type(link).__module__}.{type(link).__qualname__}"}
            if self._exception_messages:
                entry["message"] = str(link)
            frames = traceback.extract_tb(link.__traceback__)
            entry["stack"] = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
            described.append(entry)
        return described


class JsonFormatter(_Formatter):
    """One JSON object a line: `time` (RFC 3339), `level`, `event`, `logger`, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as a JSON object without line breaks."""
        entry = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        return json.dumps(entry | self._fields(record), ensure_ascii=False, default=_type_name)


class TextFormatter(_Formatter):
    """One line for a person: time, level, event, then `field=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as a line, and an exception on lines of its own below."""
        fields = self._fields(record)
        exception = fields.pop("exception", [])
        head = f"{_rfc3339(record.created)} {record.levelname:<7} {_one_line(record.getMessage())}"
        line = "  ".join([head, *(f"{name}={_text_value(value)}" for name, value in fields.items())])
        return "\n".join([line, *_exception_lines(exception)])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, then its cause or context, then that one's; a group's members follow the group."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            waiting.extend(link.exceptions)
        waiting.append(link.__cause__ or (None if link.__suppress_context__ else link.__context__))


def _exception_lines(described: object) -> Iterator[str]:
    if not isinstance(described, list):
        return
    for link in described:
        message = f": {_one_line(link['message'])}" if "message" in link else ""
        yield f"    {link['type']}{message}"
        yield from (f"      {frame}" for frame in link["stack"])


def _text_value(value: object) -> str:
    """Show a bare word as it is and anything else as JSON, so that a value cannot look like another field."""
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(' ="'):
        return value
    return _one_line(json.dumps(value, ensure_ascii=False, default=_type_name))


def _one_line(text: str) -> str:
    """Escape what JSON leaves alone and a terminal would act on."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _type_name(value: object) -> str:
    """Stand in for a field that JSON cannot hold: its text might quote anything."""
    return f"<{type(value).__qualname__}>"


def _rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
