"""Reloading: what SIGHUP asks for, one step after the other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from archroute_server.telemetry.logging import log_event

Reload = Callable[[], Awaitable[object]]
"""Reloads one thing, and says what came of it in the log and the metrics."""

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def reloading(asked: asyncio.Event, reloads: Sequence[Reload]) -> AsyncIterator[None]:
    """While the block runs, do all `reloads` in their order each time that `asked` is set.

    What is asked for during a reload is done once more after it. The end of the block cuts a reload off.
    """
    task = asyncio.create_task(_obey(asked, reloads))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _obey(asked: asyncio.Event, reloads: Sequence[Reload]) -> None:
    while True:
        await asked.wait()
        asked.clear()
        for reload in reloads:
            try:
                await reload()
            except Exception as error:  # noqa: BLE001 - the other reloads, and those to come, go on
                log_event(_logger, logging.ERROR, "a reload failed for an unforeseen reason", error)
