"""CallerLimits: how much one caller may ask for."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """Bounds on the requests of one caller; None is no bound."""

    concurrent_requests: int | None = None
    """Requests under way at a time."""
    requests_per_second: float | None = None
    """Requests in the long run."""
    burst: int | None = None
    """Requests that may come at once after a pause; if None, what a second allows."""

    @property
    def bucket_size(self) -> int:
        """How many requests may come at once. Has no meaning without `requests_per_second`."""
        return self.burst or max(1, math.ceil(self.requests_per_second or 0))


UNLIMITED = CallerLimits()
