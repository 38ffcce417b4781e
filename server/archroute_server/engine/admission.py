"""Admission: who is let in, and who is told at once to come back later."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from archroute_server.engine.answer import FallbackReason
from archroute_server.engine.errors import DeadlineUnreachable, QueueFull
from archroute_server.engine.pace import Pace
from archroute_server.engine.time_limit import DecideByMissed, TimeLimit

# Until a part of the queue this large is worked off those who were refused stay away: with the time for one
# place, all of them would come back for that one.
_RETRY_SHARE = 1 / 8
_RETRY_UNMEASURED_SECONDS = 1.0
_RETRY_LEAST_SECONDS = 0.01
_RETRY_MOST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """Counters since the start, and what is under way now."""

    requests: int
    """Requests under way: being tokenized, waiting, or run."""
    tokens: int
    """Tokens of those that were tokenized and not yet decided."""
    admitted: int
    refused_by_requests: int
    """Because too many requests were under way."""
    refused_by_tokens: int
    """Because the requests under way had too many tokens."""
    deadlines_unreachable: int
    """Refused, since they would have been decided too late."""
    decide_bys_unreachable: int
    """Answered with a fallback at once, since they would have been decided too late."""


class Admission:
    """Bounds the requests under way, and tells from their pace who would be answered too late.

    It holds no requests and starts nothing: the engine enters each request before any work is done for it.
    Belongs to one event loop.
    """

    def __init__(self, requests: int, tokens: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Let in so many requests with so many tokens in all; 0 sets no bound."""
        self._most_requests = requests or math.inf
        self._most_tokens = tokens or math.inf
        self._clock = clock
        self._pace = Pace()
        self._requests = 0
        self._untokenized = 0
        self._tokens = 0
        self._working_since = 0.0
        self._admitted = 0
        self._refused_by_requests = 0
        self._refused_by_tokens = 0
        self._deadlines_unreachable = 0
        self._decide_bys_unreachable = 0

    @property
    def statistics(self) -> AdmissionStatistics:
        """What was admitted and refused so far."""
        return AdmissionStatistics(
            requests=self._requests,
            tokens=self._tokens,
            admitted=self._admitted,
            refused_by_requests=self._refused_by_requests,
            refused_by_tokens=self._refused_by_tokens,
            deadlines_unreachable=self._deadlines_unreachable,
            decide_bys_unreachable=self._decide_bys_unreachable,
        )

    def enter(self, limit: TimeLimit) -> "Permit":
        """Let a request in, which is to be used in a `with` statement until the request is answered.

        Raises `QueueFull`, `DeadlineUnreachable` and `DecideByMissed`. The first request is always let in,
        whatever the pace was: else one slow run of the model would shut the door for good.
        """
        if self._requests >= self._most_requests:
            self._refused_by_requests += 1
            raise QueueFull(self._most_requests, "requests", "--queue-requests", self._retry_after())
        if self._requests and self._pace.measured:
            self._check_reachable(limit)
        self._requests += 1
        self._untokenized += 1
        self._admitted += 1
        return Permit(self)

    def record(self, tokens: int, seconds: float) -> None:
        """Learn that a request of so many tokens was decided, and its share of the model's time."""
        self._pace.record(tokens, seconds)
        self._working_since = self._clock()

    def _check_reachable(self, limit: TimeLimit) -> None:
        expected = self._seconds_ahead() + self._pace.seconds_per_request
        now = self._clock()
        if now + expected > limit.decide_by:
            self._decide_bys_unreachable += 1
            raise DecideByMissed(FallbackReason.DECIDE_BY_UNREACHABLE)
        if now + expected > limit.deadline:
            self._deadlines_unreachable += 1
            remaining = limit.deadline - now
            raise DeadlineUnreachable(expected, max(0.0, remaining), _bounded(expected - remaining))

    def _seconds_ahead(self) -> float:
        """Return how long those under way will take from now on."""
        tokens = self._tokens + self._untokenized * self._pace.tokens_per_request
        # The one that runs has run for a while, though no longer than it takes as a rule: a model that hangs
        # has not worked off the queue.
        worked = 0.0
        if self._tokens:
            worked = min(self._clock() - self._working_since, self._pace.seconds_per_request)
        return max(0.0, self._pace.seconds(tokens) - worked)

    def _retry_after(self) -> float:
        if not self._pace.measured:
            return _RETRY_UNMEASURED_SECONDS
        return _bounded(max(self._pace.seconds_per_request, self._seconds_ahead() * _RETRY_SHARE))

    # What permits call.

    def _charge(self, tokens: int) -> None:
        # As above, the first is let in, or a prompt larger than the bound never would be.
        if self._tokens and self._tokens + tokens > self._most_tokens:
            self._refused_by_tokens += 1
            raise QueueFull(self._most_tokens, "tokens", "--queue-tokens", self._retry_after())
        if not self._tokens:
            self._working_since = self._clock()
        self._untokenized -= 1
        self._tokens += tokens

    def _leave(self, tokens: int) -> None:
        self._requests -= 1
        if tokens:
            self._tokens -= tokens
        else:
            self._untokenized -= 1


class Permit:
    """One request's place; leaving the `with` statement gives it back."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._tokens = 0

    def charge(self, tokens: int) -> None:
        """Take room for the request's tokens, more than 0, once they are known. Raises `QueueFull`."""
        self._admission._charge(tokens)
        self._tokens = tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission._leave(self._tokens)


def _bounded(seconds: float) -> float:
    return min(max(seconds, _RETRY_LEAST_SECONDS), _RETRY_MOST_SECONDS)
