"""Caller: who makes a call, and what it has under way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from archroute_server.access.errors import CallerBusy, CallerTooFast, TokenInvalid
from archroute_server.access.limits import CallerLimits
from archroute_server.access.token_bucket import Clock, TokenBucket
from archroute_server.telemetry.caller_name import CallerName

# When a request ends cannot be known. About as long as a decision takes.
BUSY_RETRY_SECONDS = 0.1


class Caller:
    """One caller and its limits, which all its calls share. Belongs to one thread."""

    def __init__(self, name: CallerName, limits: CallerLimits, clock: Clock = time.monotonic) -> None:
        self.name = name
        self.limits = limits
        self._under_way = 0
        self._revoked = False
        self._bucket: TokenBucket | None = None
        if limits.requests_per_second is not None:
            self._bucket = TokenBucket(limits.requests_per_second, limits.bucket_size, clock)

    def revoke(self) -> None:
        """Let nothing more begin, in streams that are open; what is under way goes on."""
        self._revoked = True

    @contextmanager
    def request(self) -> Iterator[None]:
        """Have one more request under way while the block runs.

        Raises `CallerBusy` and `CallerTooFast`, and `TokenInvalid` once the caller was revoked.
        """
        if self._revoked:
            raise TokenInvalid("what this caller may do was changed while the stream was open")
        most, rate = self.limits.concurrent_requests, self.limits.requests_per_second
        if most is not None and self._under_way >= most:
            raise CallerBusy(most, BUSY_RETRY_SECONDS)
        if self._bucket is not None and rate is not None and (seconds := self._bucket.take()):
            raise CallerTooFast(rate, seconds)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
