"""Following the policies files: they are looked at whenever they may have changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch

from archroute_server.telemetry.logging import log_event

LOOK_AGAIN_SECONDS = 10.0
"""How long at most until the files are looked at again, whether or not the file system told of a change."""

# Until nothing more happens for so long, an edit is taken to be going on.
_QUIET_MILLISECONDS = 100

_logger = logging.getLogger(__name__)


async def watch(
    path: Path | None, look: Callable[[], Awaitable[object]], look_again: float = LOOK_AGAIN_SECONDS
) -> None:
    """Call `look` whenever the policies file, or the folder of them, may have changed, until cancelled.

    The file system says so at once on most machines. Not all of them can: a network share, a folder that was
    itself replaced, a limit on watches. So `look` is called every `look_again` seconds as well.
    Without a `path` there is nothing to watch, and it returns at once.
    """
    if path is None:
        return
    told = False
    while True:
        try:
            changes = awatch(
                *_folders(path),
                watch_filter=None,
                recursive=False,
                step=_QUIET_MILLISECONDS,
                rust_timeout=round(look_again * 1000),
                yield_on_timeout=True,
            )
            async with aclosing(changes):
                async for _ in changes:
                    await look()
        except Exception as error:  # noqa: BLE001 - the folder is gone, or the system watches no more
            if not told:
                log_event(
                    _logger,
                    logging.WARNING,
                    "policies files cannot be watched, so they are looked at from time to time",
                    error,
                    path=str(path),
                    seconds=look_again,
                )
                told = True
        await look()
        await asyncio.sleep(look_again)


def _folders(path: Path) -> set[Path]:
    """Return the folders in which something happens when the files change.

    Of a file, that in which it stands, since most editors write another and rename it. Where it is a link,
    that of its target as well. Kubernetes replaces a link beside the file.
    """
    if path.is_dir():
        return {path}
    return {path.parent, path.resolve().parent}
