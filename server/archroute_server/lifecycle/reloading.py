"""Reloading: what SIGHUP asks for, one step after the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from archroute_server.telemetry.logging import log_event

Reload = Callable[[], Awaitable[object]]
"""Reloads one thing, and says what came of it in the log and the metrics."""

_logger = logging.getLogger(__name__)


async def reload_when_asked(asked: asyncio.Event, reloads: Sequence[Reload]) -> None:
    """Do all `reloads` in their order each time that `asked` is set, until cancelled.

    What is asked for during a reload is done once more after it.
    """
    while True:
        await asked.wait()
        asked.clear()
        for reload in reloads:
            try:
                await reload()
            except Exception as error:  # noqa: BLE001 - the other reloads, and those to come, go on
                log_event(_logger, logging.ERROR, "a reload failed for an unforeseen reason", error)
