import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from archroute_server.telemetry.logging import (
    SERVER_LOGGER,
    LogFormat,
    configure_logging,
    log_event,
    log_unhandled,
)

logger = logging.getLogger(f"{SERVER_LOGGER}.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, own = logging.getLogger(), logging.getLogger(SERVER_LOGGER)
    handlers, root_level, own_level = root.handlers[:], root.level, own.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(root_level)
    own.setLevel(own_level)
    logging.captureWarnings(capture=False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


def test_an_event_is_one_json_object(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", stream=stream)
    log_event(logger, logging.INFO, "ready", address="[::1]:1", policies=["é", "a\nb"])
    (line,) = lines(stream)
    time = datetime.fromisoformat(line.pop("time"))
    assert time.utcoffset() is not None
    assert line == {
        "level": "info",
        "event": "ready",
        "logger": "archroute_server.test",
        "address": "[::1]:1",
        "policies": ["é", "a\nb"],
    }


def test_the_format_follows_the_terminal(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging(LogFormat.AUTO, "info", stream=stream)
    log_event(logger, logging.INFO, "to a file")
    assert lines(stream)[0]["event"] == "to a file"
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure_logging(LogFormat.AUTO, "info", stream=stream)
    log_event(logger, logging.INFO, "to a person")
    assert stream.getvalue().endswith("Z INFO    to a person\n")


def test_text_cannot_be_mistaken_for_another_line_or_field(stream: io.StringIO) -> None:
    configure_logging(LogFormat.TEXT, "info", stream=stream)
    log_event(
        logger, logging.INFO, "asked", plain="code", forged="x\ny z=1", escape="\x1b[2J\u2028", empty=""
    )
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r'INFO    asked  plain=code  forged="x\ny z=1"  escape="\u001b[2J\u2028"  empty=""')


def test_levels(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "error", stream=stream)
    log_event(logger, logging.WARNING, "unheard")
    logging.getLogger("library").info("unheard")
    logging.getLogger("library").warning("heard from %s", "a library")
    assert [line["event"] for line in lines(stream)] == ["heard from a library"]


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
def test_an_exception_is_told_without_its_words(stream: io.StringIO, log_format: LogFormat) -> None:
    configure_logging(log_format, "info", stream=stream)
    error = ValueError("secret")
    error.__cause__ = raised(KeyError("secret"))
    log_event(logger, logging.ERROR, "failed", raised(error))
    logged = stream.getvalue()
    assert "secret" not in logged
    assert "ValueError" in logged
    assert "KeyError" in logged
    assert "test_logging.py" in logged
    assert "in raised" in logged


def test_an_exception_is_told_with_its_words_if_asked(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", exception_messages=True, stream=stream)
    log_event(logger, logging.ERROR, "failed", raised(ValueError("words")))
    assert lines(stream)[0]["exception"][0]["message"] == "words"


def test_an_exception_group_is_told_with_its_members(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", stream=stream)
    group = ExceptionGroup("secret", [ValueError("secret"), KeyError("secret")])
    log_event(logger, logging.ERROR, "failed", raised(group))
    types = [link["type"] for link in lines(stream)[0]["exception"]]
    assert types == ["builtins.ExceptionGroup", "builtins.ValueError", "builtins.KeyError"]


def test_a_library_that_logs_an_exception_does_not_quote_it(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", stream=stream)
    try:
        raise ValueError("secret")
    except ValueError:
        logging.getLogger("library").exception("Unexpected error")
    assert "secret" not in stream.getvalue()
    assert lines(stream)[0]["exception"][0]["type"] == "builtins.ValueError"


def test_an_exception_that_nobody_awaited_is_not_quoted(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", stream=stream)

    async def forget() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log_unhandled)
        loop.call_soon(lambda: (_ for _ in ()).throw(ValueError("secret")))
        await asyncio.sleep(0)

    asyncio.run(forget())
    assert "secret" not in stream.getvalue()
    assert lines(stream)[0]["event"] == "unhandled error in the event loop"


def test_a_field_that_json_cannot_hold_is_named_and_not_quoted(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", stream=stream)
    log_event(logger, logging.INFO, "odd", value=ValueError("secret"))
    assert lines(stream)[0]["value"] == "<ValueError>"


def test_warnings_are_logged(stream: io.StringIO) -> None:
    configure_logging(LogFormat.JSON, "info", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)
        logging.captureWarnings(capture=False)
    assert lines(stream)[0]["logger"] == "py.warnings"
