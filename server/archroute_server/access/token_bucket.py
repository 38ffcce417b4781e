"""TokenBucket: a rate, and how far it may be exceeded for a moment."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class TokenBucket:
    """Holds up to `size` permits, is full at first, and gets `rate` new ones each second."""

    def __init__(self, rate: float, size: int, clock: Clock = time.monotonic) -> None:
        self._rate = rate
        self._size = size
        self._clock = clock
        self._permits = float(size)
        self._at = clock()

    def take(self) -> float:
        """Take a permit and return 0, or take none and return the seconds until there is one."""
        now = self._clock()
        self._permits = min(self._size, self._permits + (now - self._at) * self._rate)
        self._at = now
        if self._permits >= 1:
            self._permits -= 1
            return 0.0
        return (1 - self._permits) / self._rate
