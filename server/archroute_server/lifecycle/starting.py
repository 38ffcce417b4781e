"""Starting an engine: loaded beside whatever runs, and ready before any caller meets it."""

from collections.abc import Awaitable, Callable

from archroute_server.lifecycle.served_engine import LAST_PASS_SECONDS, ServedEngine
from archroute_server.lifecycle.threads import in_background

Prepare = Callable[[ServedEngine], Awaitable[None]]
"""Tests an engine and warms it up; see `archroute_server.lifecycle.warm_up`."""


async def start_engine(load: Callable[[], ServedEngine], prepare: Prepare) -> ServedEngine:
    """Run `load`, which blocks for as long as it takes, on a thread of its own, and `prepare` what it gives.

    An engine that cannot be prepared is closed. Raises what the two raise.
    """
    engine = await in_background(load)
    try:
        await prepare(engine)
    except BaseException:
        await engine.close(grace=0, patience=LAST_PASS_SECONDS)
        raise
    return engine
