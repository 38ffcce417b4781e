"""TimeLimit: until when a request is worth deciding."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from archroute_server.engine.answer import FallbackReason
from archroute_server.engine.errors import DeadlineExceeded


class DecideByMissed(Exception):
    """The caller's budget does not suffice for a decision, so the answer is a fallback."""

    def __init__(self, reason: FallbackReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Two instants of `time.monotonic`: after one an answer is an error, after the other a fallback."""

    deadline: float = math.inf
    decide_by: float = math.inf

    @property
    def first(self) -> float:
        """Whichever comes first: nothing need be done after it."""
        return min(self.deadline, self.decide_by)

    def passed(self) -> DecideByMissed | DeadlineExceeded:
        """Return what to raise once `first` has passed."""
        if self.decide_by <= self.deadline:
            return DecideByMissed(FallbackReason.DECIDE_BY_PASSED)
        return DeadlineExceeded()


UNLIMITED = TimeLimit()


@asynccontextmanager
async def within(limit: TimeLimit) -> AsyncIterator[None]:
    """Cancel the block once the limit has passed. Raises `DecideByMissed` and `DeadlineExceeded`.

    The clock of asyncio's event loops is `time.monotonic`.
    """
    timeout = asyncio.timeout_at(None if math.isinf(limit.first) else limit.first)
    try:
        async with timeout:
            yield
    except TimeoutError:
        if timeout.expired():
            raise limit.passed() from None
        raise
