"""Leaves a router alone that fails again and again."""

import enum
import threading

__all__ = ["CircuitBreaker", "CircuitState"]


class CircuitState(enum.Enum):
    """Whether the router is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Counts failures in a row, and says whether to ask.

        CLOSED ── `failures` in a row ──> OPEN ── `seconds` later ──> HALF_OPEN
          ^                                 ^                          │ one asks, the others do not
          └──────────── it succeeds ────────┼──────────────────────────┤
                                            └─────── it fails ─────────┘

    Has no clock: each verb takes the time, in seconds of any clock that does not go back. Thread-safe.
    """

    def __init__(self, *, failures: int = 5, seconds: float = 2.0) -> None:
        """Starts closed.

        Args:
            failures: Failures in a row that open it.
            seconds: How long it stays open, and how long the one that asks may take before another does.
        """
        if failures < 1 or not seconds > 0:
            raise ValueError("a circuit breaker needs at least 1 failure and more than 0 seconds")
        self._limit = failures
        self._seconds = seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._state = CircuitState.CLOSED
        self._since = 0.0

    @property
    def state(self) -> CircuitState:
        """As the last verb left it: OPEN also when its time is over and nobody asked since."""
        return self._state

    def allows(self, now: float) -> bool:
        """Whether to ask. If so, one of the three verbs below must follow."""
        with self._lock:
            if self._state is CircuitState.CLOSED:
                return True
            if now - self._since < self._seconds:
                return False
            # Also if half open: whoever asked last never came back.
            self._state, self._since = CircuitState.HALF_OPEN, now
            return True

    def succeeded(self) -> None:
        """The router answered."""
        with self._lock:
            self._state, self._failures = CircuitState.CLOSED, 0

    def failed(self, now: float) -> None:
        """The router failed, or did not answer in time."""
        with self._lock:
            self._failures += 1
            if self._state is CircuitState.HALF_OPEN or self._failures >= self._limit:
                self._state, self._since = CircuitState.OPEN, now

    def abandoned(self) -> None:
        """The caller went away, so that nothing is known of the router. Lets the next one ask."""
        with self._lock:
            if self._state is CircuitState.HALF_OPEN:
                self._since -= self._seconds
