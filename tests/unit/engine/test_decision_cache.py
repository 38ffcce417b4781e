import asyncio
from dataclasses import dataclass

import pytest

from archroute_server.engine.decision_cache import Branches, DecisionCache, DecisionKey

BRANCHES: Branches = ((-0.1, -2.4),)
KEY = DecisionKey.of("sha256:1", [1, 2, 3])


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def recalled(cache: DecisionCache, key: DecisionKey) -> Branches | None:
    async with cache.recall(key) as known:
        return known


async def test_what_was_decided_is_given_again() -> None:
    cache = DecisionCache(10, 60)
    assert await recalled(cache, KEY) is None
    cache.remember(KEY, BRANCHES)
    assert await recalled(cache, KEY) == BRANCHES
    statistics = cache.statistics
    assert (statistics.hits, statistics.misses, statistics.entries) == (1, 1, 1)


@pytest.mark.parametrize(
    "other",
    [
        DecisionKey.of("sha256:2", [1, 2, 3]),
        DecisionKey.of("sha256:1", [1, 2]),
        DecisionKey.of("sha256:1", [1, 2, 3, 0]),
        DecisionKey.of("sha256:1", [1, 2, 3 << 8]),
    ],
)
async def test_other_policies_or_another_prompt_are_not_known(other: DecisionKey) -> None:
    cache = DecisionCache(10, 60)
    cache.remember(KEY, BRANCHES)
    assert await recalled(cache, other) is None


async def test_a_decision_is_kept_for_so_long_and_no_longer_by_being_asked_for() -> None:
    clock = Clock()
    cache = DecisionCache(10, 60, clock)
    cache.remember(KEY, BRANCHES)
    clock.now = 59
    assert await recalled(cache, KEY) == BRANCHES
    clock.now = 60
    assert await recalled(cache, KEY) is None
    assert cache.statistics.entries == 0


async def test_the_least_recently_used_goes_first() -> None:
    cache = DecisionCache(2, 60)
    first, second, third = (DecisionKey.of("", [number]) for number in range(3))
    cache.remember(first, BRANCHES)
    cache.remember(second, BRANCHES)
    assert await recalled(cache, first) is not None
    cache.remember(third, BRANCHES)
    assert [await recalled(cache, key) is not None for key in (first, second, third)] == [True, False, True]
    assert cache.statistics.entries == 2


@pytest.mark.parametrize(("entries", "seconds"), [(0, 60), (10, 0)])
async def test_off(entries: int, seconds: float) -> None:
    cache = DecisionCache(entries, seconds)
    async with cache.recall(KEY) as first, cache.recall(KEY) as second:
        assert first is second is None
        cache.remember(KEY, BRANCHES)
    assert await recalled(cache, KEY) is None
    statistics = cache.statistics
    assert (statistics.hits, statistics.misses, statistics.entries) == (0, 0, 0)


async def test_an_equal_request_waits_for_the_one_that_is_decided() -> None:
    cache = DecisionCache(10, 60)
    async with cache.recall(KEY) as known:
        assert known is None
        waiting = asyncio.create_task(recalled(cache, KEY))
        assert await recalled(cache, DecisionKey.of("", [])) is None, "another one does not wait"
        assert not waiting.done()
        cache.remember(KEY, BRANCHES)
    assert await waiting == BRANCHES


async def test_if_nothing_came_of_it_the_next_in_turn_decides() -> None:
    cache = DecisionCache(10, 60)
    deciding = 0

    async def ask() -> Branches:
        nonlocal deciding
        async with cache.recall(KEY) as known:
            if known is not None:
                return known
            deciding += 1
            assert deciding == 1, "one at a time"
            await asyncio.sleep(0)
            deciding -= 1
            cache.remember(KEY, BRANCHES)
            return BRANCHES

    async with cache.recall(KEY):
        waiting = [asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [BRANCHES] * 3
    assert (cache.statistics.hits, cache.statistics.misses) == (2, 2)


async def test_one_that_waits_may_give_up() -> None:
    cache = DecisionCache(10, 60)
    async with cache.recall(KEY):
        waiting = asyncio.create_task(recalled(cache, KEY))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        cache.remember(KEY, BRANCHES)
    assert await recalled(cache, KEY) == BRANCHES
