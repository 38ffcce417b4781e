"""How long models took of late."""

import threading
from collections.abc import Mapping

__all__ = ["Latencies"]


class Latencies:
    """A moving average for each model, in seconds. Thread-safe."""

    def __init__(self, *, weight: float = 0.2) -> None:
        """Starts empty.

        Args:
            weight: Of the newest report, from 0 to 1. With 0.2 the last ten make up nine tenths of the
                average.
        """
        self._weight = weight
        self._lock = threading.Lock()
        self._averages: dict[str, float] = {}

    def add(self, model: str, seconds: float) -> None:
        """Takes one report into the average."""
        with self._lock:
            before = self._averages.get(model, seconds)
            self._averages[model] = before + self._weight * (seconds - before)

    def averages(self) -> Mapping[str, float]:
        """Seconds, by the model's name; only of models with a report."""
        with self._lock:
            return dict(self._averages)
