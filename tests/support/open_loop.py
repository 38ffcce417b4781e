"""Load that does not wait for the server: calls are made when they are due, and timed from that moment.

A client that waits for an answer before it asks again slows down together with the server, and so never
measures what callers would who come when they come.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

Call = Callable[[], Awaitable[str]]
"""Makes one call and returns how it ended, the name of a status; never raises."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One call that ended."""

    status: str
    latency: float
    """Seconds from the moment at which it was due."""


async def open_loop(calls: Sequence[Call] | Iterator[Call], rate: float, seed: int = 0) -> list[Ended]:
    """Make the calls at random moments, `rate` a second in the mean, and wait until all have ended."""
    clock = asyncio.get_running_loop().time
    gaps = random.Random(seed)
    ended: list[Ended] = []

    async def make(call: Call, due: float) -> None:
        status = await call()
        ended.append(Ended(status, clock() - due))

    due = clock()
    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            due += gaps.expovariate(rate)
            await asyncio.sleep(due - clock())
            tasks.create_task(make(call, due))
    return ended


async def closed_loop(call: Call, callers: int, seconds: float) -> tuple[list[Ended], float]:
    """Let each of so many callers ask again as soon as it is answered; return the calls and the seconds."""
    clock = asyncio.get_running_loop().time
    began = clock()
    ended: list[Ended] = []

    async def ask_and_ask_again() -> None:
        while clock() < began + seconds:
            due = clock()
            status = await call()
            ended.append(Ended(status, clock() - due))

    await asyncio.gather(*(ask_and_ask_again() for _ in range(callers)))
    return ended, clock() - began


def statuses(ended: Sequence[Ended]) -> dict[str, int]:
    """Count the calls by how they ended, the most frequent first."""
    return dict(Counter(call.status for call in ended).most_common())


def percentile(ended: Sequence[Ended], share: float, status: str = "OK") -> float:
    """Return the latency that so many of the calls with a status did not exceed, in seconds; NaN for none."""
    latencies = sorted(call.latency for call in ended if call.status == status)
    return latencies[min(len(latencies) - 1, int(share * len(latencies)))] if latencies else math.nan
