"""Models that said when to come back (`Retry-After`), and are left alone until then."""

import threading

__all__ = ["Resting"]


class Resting:
    """The moments at which models may be asked again. Thread-safe; has no clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def rest(self, model: str, until: float) -> None:
        """Leaves a model alone until a moment, or until a later one that is known already."""
        with self._lock:
            self._until[model] = max(until, self._until.get(model, until))

    def seconds_left(self, model: str, now: float) -> float:
        """How long a model is to be left alone from now on; 0 if it may be asked."""
        with self._lock:
            left = self._until.get(model, now) - now
            if left <= 0:
                self._until.pop(model, None)
            return max(left, 0.0)
