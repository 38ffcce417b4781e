"""Answers to exactly the same question, kept for a while on this side of the network."""

import hashlib
import threading
from collections import OrderedDict

from archroute.decision import Decision
from archroute.v1 import router_pb2

__all__ = ["AnswerCache", "question"]


def question(request: router_pb2.RouteRequest) -> bytes:
    """What a request asks, whoever asks it: a hash of all but its session."""
    copy = router_pb2.RouteRequest()
    copy.CopyFrom(request)
    copy.session_id = ""
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


class AnswerCache:
    """Decisions by question, the least recently used thrown out first. Thread-safe; has no clock.

    Holds hashes of questions, and no text of conversations.
    """

    def __init__(self, *, entries: int = 1024, seconds: float = 60.0) -> None:
        """Starts empty.

        Args:
            entries: Most decisions that are kept; 0 keeps none.
            seconds: How long a decision is kept.
        """
        if entries < 0 or not seconds > 0:
            raise ValueError("a cache needs 0 entries or more and more than 0 seconds")
        self._entries = entries
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, Decision]] = OrderedDict()

    def get(self, key: bytes, now: float) -> Decision | None:
        """The decision, unless it is too old or not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            at, decision = found
            if now - at >= self._seconds:
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return decision

    def put(self, key: bytes, decision: Decision, now: float) -> None:
        """Keeps a decision."""
        with self._lock:
            self._kept[key] = (now, decision)
            self._kept.move_to_end(key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
