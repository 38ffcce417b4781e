"""DecisionCache: what was decided a moment ago, for exactly the same prompt."""

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cachetools import TTLCache

from archroute_server.engine.branch_probabilities import Row

Branches = tuple[Row | None, ...]


@dataclass(frozen=True, slots=True)
class DecisionKey:
    """What decides an answer, given the model: the policies, and every token that the model reads."""

    policy_set_revision: str
    prompt: bytes
    """The token ids themselves, four bytes each: they are compared, not a digest of them."""

    @classmethod
    def of(cls, policy_set_revision: str, token_ids: Sequence[int]) -> "DecisionKey":
        """Make the key of a prompt."""
        return cls(policy_set_revision, array("I", token_ids).tobytes())


@dataclass(frozen=True, slots=True)
class DecisionCacheStatistics:
    """Counters since the cache was made, and its size when it was last asked."""

    hits: int
    misses: int
    entries: int


class DecisionCache:
    """Keeps the probabilities at the branches, from which a decision with any minimum can be made.

    Bounded in entries, the least recently used going first, and in time. Belongs to one event loop.
    """

    def __init__(self, entries: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep up to `entries`, each for `seconds`; nothing if either is 0."""
        self._branches: TTLCache[DecisionKey, Branches] | None = None
        if entries and seconds:
            self._branches = TTLCache(entries, seconds, clock)
        self._deciding: dict[DecisionKey, asyncio.Event] = {}
        self._hits = 0
        self._misses = 0
        self._entries = 0

    @property
    def statistics(self) -> DecisionCacheStatistics:
        """What the cache did so far; any thread may read it, unlike the cache itself."""
        return DecisionCacheStatistics(self._hits, self._misses, self._entries)

    def recall_at_once(self, key: DecisionKey) -> Branches | None:
        """Return what is known of `key`; a hit if there is something, and nothing otherwise."""
        known: Branches | None = None if self._branches is None else self._branches.get(key)
        if known is not None:
            self._hits += 1
        return known

    @asynccontextmanager
    async def recall(self, key: DecisionKey) -> AsyncIterator[Branches | None]:
        """Give what is known of `key`; None makes it the caller's to decide and `remember` in the block.

        Whoever asks for the same meanwhile waits, and takes its turn at deciding if nothing came of it.
        """
        if self._branches is None:
            yield None
            return
        while (known := self._branches.get(key)) is None and key in self._deciding:
            await self._deciding[key].wait()
        self._entries = len(self._branches)
        if known is not None:
            self._hits += 1
            yield known
            return
        self._misses += 1
        self._deciding[key] = asyncio.Event()
        try:
            yield None
        finally:
            self._deciding.pop(key).set()

    def remember(self, key: DecisionKey, branches: Branches) -> None:
        """Keep what was decided."""
        if self._branches is not None:
            self._branches[key] = branches
            self._entries = len(self._branches)
