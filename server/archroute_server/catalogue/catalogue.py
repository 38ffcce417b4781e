"""PolicyCatalogue: the policy sets that requests are decided by, and how they change."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from archroute_server.catalogue.errors import (
    NoPolicyStore,
    PolicySetReadOnly,
    PolicyStoreFull,
    PolicyStoreUnwritable,
    RevisionMismatch,
    UnservablePolicySet,
)
from archroute_server.catalogue.statistics import CatalogueStatistics, ReloadResult
from archroute_server.catalogue.store import PolicySetStore
from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.policy_set_size import PolicySetSize
from archroute_server.router.errors import InvalidRequest, PolicySetNotFound
from archroute_server.router.policy import PolicySet
from archroute_server.router.policy_file import (
    Contents,
    PlacedPolicySets,
    PolicyFileError,
    parse_policy_sets,
    read_contents,
)
from archroute_server.router.policy_sets import PolicySets
from archroute_server.telemetry.logging import log_event

# The model reads each of them at the start, before the server is ready.
MAX_STORED_SETS = 100

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class PolicyEngine(Protocol):
    """What the catalogue needs of an engine."""

    async def warm(self, policies: PolicySet) -> None:
        """Let the model read the policies. Raises `InvalidRequest` and `EngineClosed`."""

    async def keep(self, policy_sets: Sequence[PolicySet]) -> None:
        """Keep what was read of these sets, and of no others, the first ones first."""

    async def measure(self, policies: PolicySet) -> PolicySetSize:
        """Say how large a policy set is for the model. Raises what `warm` raises."""


class PolicyCatalogue:
    """Holds the sets of the policies files, and beside them those of a store.

    A change makes new `PolicySets` and puts them in the place of the old ones at once, so whoever took
    `current` decides by exactly one revision of a set. Before that, the model reads what is new in them.
    Changes are made one at a time, and each to its end, even if whoever asked for it gives up.

    A name belongs to the files or to the store. The files alone say which set is the default.

    Belongs to one event loop.
    """

    def __init__(
        self,
        files: PlacedPolicySets | None = None,
        *,
        path: Path | None = None,
        contents: Contents | None = None,
        store: PolicySetStore | None = None,
    ) -> None:
        """Hold `files`, made of `contents`, which were read from `path`; and the sets of `store`."""
        self._path = path
        self._store = store
        self._files = files or PlacedPolicySets(PolicySets(), {})
        # What was looked at last: the contents, or why they could not be read.
        self._seen: Contents | str | None = contents
        self._engine: PolicyEngine | None = None
        self._turn = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()
        self._counts = dict.fromkeys(ReloadResult, 0)
        self._up_to_date = True
        self._last_success = time.time()
        self._current = self._beside_store(self._files.sets)

    @classmethod
    def open(cls, path: Path | None, store_folder: Path | None) -> "PolicyCatalogue":
        """Read the files and open the store, where there are such; blocks for as long as that takes.

        Raises `PolicyFileError` and `PolicyStoreError`.
        """
        store = PolicySetStore(store_folder) if store_folder is not None else None
        try:
            if path is None:
                return cls(store=store)
            contents = read_contents(path)
            files = parse_policy_sets(path, contents, store.sets.keys() if store else ())
            return cls(files, path=path, contents=contents, store=store)
        except BaseException:
            if store is not None:
                store.close()
            raise

    @property
    def current(self) -> PolicySets:
        """The sets as they are now. They never change; a change puts others in their place."""
        return self._current

    @property
    def path(self) -> Path | None:
        """The policies file, or the folder of them."""
        return self._path

    @property
    def engine(self) -> PolicyEngine | None:
        """What `use` was given last."""
        return self._engine

    @property
    def statistics(self) -> CatalogueStatistics:
        """How the files were followed so far; any thread may read it."""
        return CatalogueStatistics(
            applied=self._counts[ReloadResult.APPLIED],
            refused=self._counts[ReloadResult.REFUSED],
            failed=self._counts[ReloadResult.FAILED],
            up_to_date=self._up_to_date,
            last_success=self._last_success,
        )

    async def use(self, engine: PolicyEngine) -> None:
        """Let the model of `engine` read every set, and with each change what is new, from now on.

        May be called again, with another engine, and be cancelled. Raises `UnservablePolicySet`.
        """

        async with self._turn:
            await self._warm(engine, self._sets(), self._files.places)
            self._engine = engine
            await engine.keep(self._sets())

    async def reload(self) -> ReloadResult:
        """Look at the files again, and hold what is in them if that has changed and has no mistake.

        Never raises: what went wrong is logged and counted.
        """
        return await self._in_turn(self._reload)

    async def put(self, policy_set: PolicySet, if_revision: str | None = None) -> None:
        """Store a set, and hold it.

        With an `if_revision`, only if that is the set's revision; empty if there must be no such set. Raises
        `ChangeRefused`, `InvalidRequest` if the model cannot decide by it, and `EngineClosed`.
        """

        async def change() -> None:
            store = self._store_of(policy_set.name)
            _check_revision(store, policy_set.name, if_revision)
            if policy_set.name not in store.sets and len(store.sets) >= MAX_STORED_SETS:
                raise PolicyStoreFull(MAX_STORED_SETS)
            if self._engine is not None:
                await self._engine.warm(policy_set)
            await _write(store.write, policy_set)
            await self._hold(self._files)
            log_event(
                _logger, logging.INFO, "policy set stored", name=policy_set.name, revision=policy_set.revision
            )

        await self._in_turn(change)

    async def delete(self, name: str, if_revision: str | None = None) -> None:
        """Remove a set from the store. Raises `PolicySetNotFound` and `ChangeRefused`."""

        async def change() -> None:
            store = self._store_of(name)
            if name not in store.sets:
                raise PolicySetNotFound(name, sorted(store.sets))
            _check_revision(store, name, if_revision)
            await _write(store.remove, name)
            if not self._up_to_date:
                self._seen = None  # files that were refused may have been for this name
            await self._hold(self._files)
            log_event(_logger, logging.INFO, "policy set deleted", name=name)

        await self._in_turn(change)

    async def close(self) -> None:
        """Give up the changes under way, of which none was answered yet, and close the store."""
        for task in self._changes:
            task.cancel()
        await asyncio.gather(*self._changes, return_exceptions=True)
        if self._store is not None:
            self._store.close()

    async def _in_turn(self, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Make a change after those before it."""

        async def wait_and_change() -> T:
            async with self._turn:
                return await change()

        # A task of its own: a change given up halfway would leave in the store what nobody decides by.
        task = asyncio.create_task(wait_and_change())
        self._changes.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait({task})
        if task.cancelled():
            raise EngineClosed  # see `close`
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked for the change may have given up, so that nobody hears of it

    async def _reload(self) -> ReloadResult:
        if self._path is None:
            return ReloadResult.UNCHANGED
        try:
            result = await self._follow(self._path)
        except (PolicyFileError, UnservablePolicySet) as error:
            result = self._refuse(error)
        except EngineClosed:  # it is stopping
            return ReloadResult.UNCHANGED
        except Exception as error:  # noqa: BLE001 - whatever it is, the old sets go on
            log_event(_logger, logging.ERROR, "policies files not followed", error, path=str(self._path))
            self._up_to_date = False
            self._seen = None
            result = ReloadResult.FAILED
        self._counts[result] += 1
        return result

    async def _follow(self, path: Path) -> ReloadResult:
        try:
            contents = await asyncio.to_thread(read_contents, path)
        except PolicyFileError as error:
            if self._seen == str(error):
                return ReloadResult.UNCHANGED
            self._seen = str(error)
            raise
        if contents == self._seen:
            return ReloadResult.UNCHANGED
        stored = tuple(self._store.sets) if self._store else ()
        try:
            files = await asyncio.to_thread(parse_policy_sets, path, contents, stored)
            held = {policy_set.revision for policy_set in self._sets()}
            new = [each for each in _in_order(files.sets) if each.revision not in held]
            if self._engine is not None:
                await self._warm(self._engine, new, files.places)
        except (PolicyFileError, UnservablePolicySet):
            self._seen = contents
            raise
        await self._hold(files)
        self._seen = contents
        self._up_to_date = True
        self._last_success = time.time()
        revisions = {name: files.sets.get(name).revision for name in files.sets.names()}
        log_event(_logger, logging.INFO, "policies files applied", path=str(path), revisions=revisions)
        return ReloadResult.APPLIED

    def _refuse(self, error: PolicyFileError | UnservablePolicySet) -> ReloadResult:
        self._up_to_date = False
        problems = str(error).splitlines()
        log_event(_logger, logging.ERROR, "policies files refused", path=str(self._path), problems=problems)
        return ReloadResult.REFUSED

    async def _warm(
        self, engine: PolicyEngine, policy_sets: Iterable[PolicySet], places: Mapping[str, str]
    ) -> None:
        for policy_set in policy_sets:
            try:
                await engine.warm(policy_set)
            except InvalidRequest as error:
                place = places.get(policy_set.name) or self._stored_at(policy_set.name)
                raise UnservablePolicySet(policy_set.name, place, error) from error

    async def _hold(self, files: PlacedPolicySets) -> None:
        """Swap: the next request is decided by these."""
        self._files = files
        self._current = self._beside_store(files.sets)
        if self._engine is not None:
            await self._engine.keep(self._sets())

    def _store_of(self, name: str) -> PolicySetStore:
        if self._store is None:
            raise NoPolicyStore
        if name in self._files.sets:
            raise PolicySetReadOnly(name)
        return self._store

    def _beside_store(self, files: PolicySets) -> PolicySets:
        return files.with_stored(self._store.sets.values()) if self._store is not None else files

    def _stored_at(self, name: str) -> str:
        return str(self._store.path(name)) if self._store is not None else "policies"

    def _sets(self) -> list[PolicySet]:
        return _in_order(self._current)


async def _write(write: Callable[[T], None], argument: T) -> None:
    try:
        await asyncio.to_thread(write, argument)
    except PolicyStoreUnwritable as error:
        log_event(_logger, logging.ERROR, "policy store not written", reason=str(error))
        raise


def _check_revision(store: PolicySetStore, name: str, if_revision: str | None) -> None:
    held = store.sets.get(name)
    current = held.revision if held is not None else ""
    if if_revision is not None and if_revision != current:
        raise RevisionMismatch(name, if_revision, current)


def _in_order(policy_sets: PolicySets) -> list[PolicySet]:
    """Return the sets: the default one, the others of the files, those of the store."""

    def place(name: str) -> tuple[bool, bool]:
        return policy_sets.is_stored(name), name != policy_sets.default_name

    return [policy_sets.get(name) for name in sorted(policy_sets.names(), key=place)]
