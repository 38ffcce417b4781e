"""ReloadingFiles: files that are read again when they have changed.

They are looked at every few seconds. Being told of changes by the system would be sooner, but a Kubernetes
secret is changed by a symbolic link far above the file, and a file of a network is changed where no system
here sees it. Certificate providers of gRPC for other languages look every few seconds, too.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from archroute_server.telemetry.logging import log_event

T = TypeVar("T")

Stamp = tuple[tuple[int, int, int] | None, ...]

LOOK_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReloadStatistics:
    """What became of files that were read again."""

    loaded: int
    """How often their contents were taken over."""
    failed: int
    """How often they could not be used, so that the old contents stayed."""
    successful: bool
    """Whether the newest contents are in use."""


class ReloadingFiles(Generic[T]):
    """Contents of files that belong together, as they were when they could last be used.

    `name` is what they are called in the log. `load` reads them, on another thread, and raises one of
    `errors`, whose messages are made for the log, if they cannot be used; `apply` is given what it returns.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        load: Callable[[], T],
        apply: Callable[[T], object],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._name = name
        self._paths = tuple(paths)
        self._load = load
        self._apply = apply
        self._errors = errors
        self._loaded = 0
        self._failed = 0
        self._successful = True
        # What was read last, whether or not it could be used, and what was seen at the last look.
        self._read: Stamp | None = None
        self._seen: Stamp | None = None

    @property
    def statistics(self) -> ReloadStatistics:
        """How often the files were read again; any thread may ask."""
        return ReloadStatistics(self._loaded, self._failed, self._successful)

    def begin(self) -> T:
        """Read the files for the first time and return their contents. Raises one of `errors`."""
        # Before they are read: a change in between is seen at the next look.
        self._read = self._seen = self._stamp()
        return self._load()

    async def look(self) -> None:
        """Read the files again if they have changed, and not just now.

        A certificate and its key are written one after the other and do not fit in between. So a change
        counts once two looks have seen the same.
        """
        stamp = await asyncio.to_thread(self._stamp)
        settled = stamp == self._seen
        self._seen = stamp
        if settled and stamp != self._read:
            await self.reload()

    async def reload(self) -> None:
        """Read the files again. What cannot be used is logged and counted, and the old contents stay."""
        self._read = self._seen = await asyncio.to_thread(self._stamp)
        try:
            contents = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server goes on with the old contents
            self._failed += 1
            self._successful = False
            foreseen = isinstance(error, self._errors)
            log_event(
                _logger,
                logging.ERROR,
                "not reloaded, the old goes on",
                None if foreseen else error,
                what=self._name,
                **({"reason": str(error)} if foreseen else {}),
            )
            return
        self._apply(contents)
        self._loaded += 1
        self._successful = True
        log_event(_logger, logging.INFO, "reloaded", what=self._name)

    def _stamp(self) -> Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what is different once a file was changed or replaced; None for one that is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
