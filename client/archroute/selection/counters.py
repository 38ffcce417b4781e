"""What became of selections, in numbers that an application can watch."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from archroute.selection.reasons import SelectionOutcome, SelectionReason

__all__ = ["Counters", "CountersSnapshot"]


@dataclass(frozen=True, slots=True)
class CountersSnapshot:
    """The counters at one moment. Every number only grows.

    `selections` is the sum of `by_reason`, and of `by_outcome`. A reason or outcome that never occurred is 0.
    """

    selections: int
    """Selections that were returned, or with `strict` raised."""

    by_outcome: Mapping[SelectionOutcome, int]
    by_reason: Mapping[SelectionReason, int]

    calls: int
    """Times that the router was asked, retries of gRPC's own not counted."""

    switches: int
    """Times that a session changed its policy."""

    reports: int
    """Rewards and latencies that were reported."""

    reward_errors: int
    """Times that rewards could not be read from where they are kept, or written to it."""


class Counters:
    """Counts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: Counter[SelectionReason] = Counter()
        self._events: Counter[str] = Counter()

    def selected(self, reason: SelectionReason) -> None:
        """A selection ended."""
        with self._lock:
            self._reasons[reason] += 1

    def called(self) -> None:
        """The router was asked."""
        self._count("calls")

    def switched(self) -> None:
        """A session changed its policy."""
        self._count("switches")

    def reported(self) -> None:
        """A report came in."""
        self._count("reports")

    def reward_failed(self) -> None:
        """Rewards could not be read or written."""
        self._count("reward_errors")

    def snapshot(self) -> CountersSnapshot:
        """The numbers, all of the same moment."""
        with self._lock:
            reasons = {reason: self._reasons[reason] for reason in SelectionReason}
            events = Counter(self._events)
        return CountersSnapshot(
            selections=sum(reasons.values()),
            by_outcome={
                outcome: sum(count for reason, count in reasons.items() if reason.outcome is outcome)
                for outcome in SelectionOutcome
            },
            by_reason=reasons,
            calls=events["calls"],
            switches=events["switches"],
            reports=events["reports"],
            reward_errors=events["reward_errors"],
        )

    def _count(self, event: str) -> None:
        with self._lock:
            self._events[event] += 1
