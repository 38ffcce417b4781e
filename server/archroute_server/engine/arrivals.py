"""Arrivals: how soon after one request the next one comes."""

import math
from collections import deque
from statistics import median

REMEMBERED = 16
"""Gaps that the usual one is taken of: enough to look past one long pause, few enough to follow a change."""


class Arrivals:
    """The gaps between the latest requests."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=REMEMBERED)
        self._latest: float | None = None

    def record(self, now: float) -> None:
        """Note that a request arrived at `now`, in seconds of any clock that does not go back."""
        if self._latest is not None:
            self._gaps.append(now - self._latest)
        self._latest = now

    @property
    def usual_gap(self) -> float:
        """The median gap in seconds, within which half of the next requests came; infinite without one."""
        return median(self._gaps) if self._gaps else math.inf
