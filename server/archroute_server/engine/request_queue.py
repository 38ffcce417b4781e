"""RequestQueue: what waits for the inference thread."""

import threading
from collections.abc import Collection

from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.request import Request


class RequestQueue:
    """Requests in the order of their arrival. May be used by several threads; one of them takes."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, request: Request) -> None:
        """Add a request. Raises `EngineClosed`."""
        with self._changed:
            if self._closed:
                raise EngineClosed
            self._requests.append(request)
            self._changed.notify()

    def wait(self) -> bool:
        """Wait until there is a request; say False once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._closed)
            return not self._closed

    def waiting(self) -> list[Request]:
        """Return the requests that wait, the oldest first; those that were cancelled leave the queue."""
        with self._changed:
            self._requests = [request for request in self._requests if not request.future.cancelled()]
            return list(self._requests)

    def take(self, requests: Collection[Request]) -> list[Request]:
        """Take requests out to be run: those of `requests` that still wait and can no longer be cancelled."""
        with self._changed:
            taken = [request for request in self._requests if request in requests]
            self._requests = [request for request in self._requests if request not in requests]
        return [request for request in taken if request.future.set_running_or_notify_cancel()]

    def close(self) -> None:
        """Take no more requests; those that wait raise `EngineClosed`."""
        with self._changed:
            self._closed = True
            left, self._requests = self._requests, []
            self._changed.notify_all()
        for request in left:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(EngineClosed())
