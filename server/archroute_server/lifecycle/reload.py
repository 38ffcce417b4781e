"""BundleReload: puts another bundle in the place of the one that decides, without a gap.

The new bundle is loaded, tested and warmed beside the old one, and takes over between two requests. Whoever
is under way is answered by the engine that they began with. Whatever goes wrong, the old one stays.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from archroute_server.bundle.bundle import read_manifest
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.manifest import Manifest
from archroute_server.catalogue.errors import UnservablePolicySet
from archroute_server.engine.identity import Identity
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.lifecycle.served_engine import LAST_PASS_SECONDS, CurrentEngine, ServedEngine
from archroute_server.lifecycle.starting import Prepare, start_engine
from archroute_server.lifecycle.warm_up import ModelUnusable
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.machine.memory import available_memory
from archroute_server.telemetry.logging import log_event

# What a loaded model takes for each byte of its bundle: the README has 1.1 for int8, and other precisions are
# packed again when they are loaded.
_MEMORY_PER_BYTE = 1.5
# For everything that does not grow with the weights.
_MEMORY_BESIDE = 128 * 2**20

MIB = 2**20

_logger = logging.getLogger(__name__)


class ReloadResult(Enum):
    """What came of a reload."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """The bundle is the one that decides already."""
    TOO_LITTLE_MEMORY = "too_little_memory"
    """Two models do not fit beside each other."""
    FAILED = "failed"
    """The bundle cannot be used; the old one goes on."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a reload takes things from.

    `find` gives the bundle's folder, where links lead, and `load` its engine, blocking for as long as it
    takes. `prepare` tests an engine and warms it up, as at the start of the server. `memory` is how many
    bytes can be had.
    """

    find: Callable[[], Awaitable[Path]]
    load: Callable[[Path], ServedEngine]
    prepare: Prepare
    memory: Callable[[], float] = available_memory


class BundleReload:
    """Reloads the bundle of the engine that decides."""

    def __init__(
        self,
        current: CurrentEngine,
        sources: Sources,
        *,
        prefix_cache_bytes: int,
        close_seconds: float,
        observe: Callable[[str], object] = lambda result: None,
    ) -> None:
        """Close an engine that was replaced after at most `close_seconds`; tell `observe` each result."""
        self._current = current
        self._sources = sources
        self._prefix_cache_bytes = prefix_cache_bytes
        self._close_seconds = close_seconds
        self._observe = observe

    async def run(self) -> ReloadResult:
        """Look for another bundle, and let it decide if there is one. Raises nothing: the log says why."""
        try:
            result = await self._reload()
        except (BundleError, RuntimeLoadError, SelfTestFailed, UnservablePolicySet, ModelUnusable) as error:
            log_event(_logger, logging.ERROR, "the bundle was not reloaded", reason=str(error))
            result = ReloadResult.FAILED
        except Exception as error:  # noqa: BLE001 - the server goes on with what it has
            log_event(_logger, logging.ERROR, "the bundle was not reloaded, for an unforeseen reason", error)
            result = ReloadResult.FAILED
        self._observe(result.value)
        return result

    async def _reload(self) -> ReloadResult:
        began = time.perf_counter()
        folder = await self._sources.find()
        identity = self._current.engine.identity
        before = identity.bundle_digest
        manifest, digest = read_manifest(folder)
        if digest == before:
            log_event(_logger, logging.INFO, "the bundle is unchanged", bundle=digest, folder=str(folder))
            return ReloadResult.UNCHANGED
        needed, available = self._memory_needed(manifest), self._sources.memory()
        if needed > available:
            log_event(
                _logger,
                logging.ERROR,
                "the bundle was not reloaded: there is too little memory for two; give the server more, or "
                "start it again",
                folder=str(folder),
                needed_mib=round(needed / MIB),
                available_mib=round(available / MIB),
            )
            return ReloadResult.TOO_LITTLE_MEMORY
        log_event(_logger, logging.INFO, "loading another bundle", folder=str(folder), bundle=digest)

        async def prepare(engine: ServedEngine) -> None:
            _check_provider(identity, engine.identity)
            await self._sources.prepare(engine)

        engine = await start_engine(lambda: self._sources.load(folder), prepare)
        replaced = self._current.replace(engine)
        log_event(
            _logger,
            logging.INFO,
            "reloaded the bundle",
            bundle=engine.identity.bundle_digest,
            before=before,
            seconds=round(time.perf_counter() - began, 3),
        )
        await self._close(replaced)
        return ReloadResult.DONE

    def _memory_needed(self, manifest: Manifest) -> float:
        size = sum(file.bytes for file in manifest.files.values())
        return _MEMORY_PER_BYTE * size + self._prefix_cache_bytes + _MEMORY_BESIDE

    async def _close(self, engine: ServedEngine) -> None:
        """Let an engine finish what it began; no request takes longer than its deadline."""
        if not await engine.close(grace=self._close_seconds, patience=LAST_PASS_SECONDS):
            log_event(
                _logger,
                logging.WARNING,
                "the bundle before hangs, and keeps its memory",
                bundle=engine.identity.bundle_digest,
            )


def _check_provider(before: Identity, after: Identity) -> None:
    """Raise `RuntimeLoadError` if the bundle does not get the provider of the one before.

    A server that starts with `auto` decides slowly rather than not at all. One that decides already goes on.
    """
    if after.preferred_provider == before.provider:
        raise RuntimeLoadError(
            f"it would run on the {after.provider} provider instead of {before.provider}, and the log's line "
            "before this one says why; put that right, or start the server again"
        )
