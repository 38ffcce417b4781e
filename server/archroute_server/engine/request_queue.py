"""RequestQueue: what waits for the inference thread."""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass

from archroute_server.engine.arrivals import Arrivals
from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.request import Request, Settled


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """The queue now, and counters since the start of those who left it without having been run."""

    waiting: int
    cancelled: int
    """Nobody waited for them any more."""
    expired: int
    """Their time was over."""


class RequestQueue:
    """Requests in the order of their arrival. May be used by several threads; one of them takes."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, changed: threading.Condition | None = None
    ) -> None:
        self._clock = clock
        self._requests: list[Request] = []
        self._arrivals = Arrivals()
        self._changed = changed or threading.Condition()
        self._closed = False
        self._cancelled = 0
        self._expired = 0

    @property
    def statistics(self) -> QueueStatistics:
        """What became of the requests so far."""
        with self._changed:
            return QueueStatistics(len(self._requests), self._cancelled, self._expired)

    def put(self, request: Request) -> None:
        """Add a request. Raises `EngineClosed`."""
        with self._changed:
            if self._closed:
                raise EngineClosed
            request.arrived = self._clock()
            self._arrivals.record(request.arrived)
            self._requests.append(request)
            self._changed.notify()
        # At once, and not when the inference thread comes by: while it hangs, nothing else empties the queue.
        request.future.add_done_callback(lambda future: self._drop_cancelled(request, future))

    def wait(self) -> bool:
        """Wait until there is a request; say False once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._closed)
            return not self._closed

    def wait_for_another(self, oldest: Request, longest: float) -> bool:
        """Wait for a request to arrive behind those that wait, if it is likely to; say whether one did.

        It is unless the usual gap between two is longer than what is left until `oldest`, one of those that
        wait, has waited for `longest` seconds. Half of the next ones come within that gap, and of those that
        do not most will not for long: no wait is longer than two such gaps.
        """
        with self._changed:
            gap = self._arrivals.usual_gap
            left = oldest.arrived + longest - self._clock()
            if gap > left or self._closed:
                return False
            return self._changed.wait(min(left, 2 * gap)) and not self._closed

    def waiting(self) -> list[Request]:
        """Return the requests that wait, the oldest first; those whose time is over leave the queue."""
        with self._changed:
            now = self._clock()
            expired = [request for request in self._requests if request.limit.first <= now]
            self._requests = [request for request in self._requests if request.limit.first > now]
            left = list(self._requests)
        for request in expired:
            self._gave_up(request, expired=True)
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(request.limit.passed())
        return left

    def take(self, requests: Collection[Request]) -> list[Request]:
        """Take requests out to be run: those of `requests` that still wait and can no longer be cancelled."""
        with self._changed:
            taken = [request for request in self._requests if request in requests]
            self._requests = [request for request in self._requests if request not in requests]
        running = []
        for request in taken:
            if request.future.set_running_or_notify_cancel():
                request.leave_queue()
                running.append(request)
            else:
                self._gave_up(request, expired=request.limit.first <= self._clock())
        return running

    def close(self) -> None:
        """Take no more requests; those that wait raise `EngineClosed`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.fail(EngineClosed)

    def fail(self, error: Callable[[], Exception]) -> int:
        """Take out those that wait, tell each what `error` makes, and return how many they were."""
        with self._changed:
            left, self._requests = self._requests, []
        told = 0
        for request in left:
            failure = error()
            request.leave_queue(type(failure))
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(failure)
                told += 1
        return told

    def _drop_cancelled(self, request: Request, future: Future[Settled]) -> None:
        """Take a cancelled request out, unless whoever else took it out has counted it."""
        if not future.cancelled():
            return
        with self._changed:
            if request not in self._requests:
                return
            self._requests.remove(request)
        # asyncio cancels what it waits for when the time is over, too.
        self._gave_up(request, expired=request.limit.first <= self._clock())

    def _gave_up(self, request: Request, *, expired: bool) -> None:
        """Count a request that left before its turn, and say so."""
        with self._changed:
            self._expired += expired
            self._cancelled += not expired
        request.gave_up(expired=expired)
