"""Pace: how long the model takes, going by the requests that it decided last."""

# Each request counts this much of the one after it, so the last ten or so make the estimate.
_MEMORY = 0.9


class Pace:
    """Seconds for each token, as a mean of which recent requests make the most.

    Tokens are counted as a request is charged for them: its whole prompt, whatever of it was cached. So what
    the caches save is part of the pace.
    """

    def __init__(self) -> None:
        self._requests = 0.0
        self._tokens = 0.0
        self._seconds = 0.0

    @property
    def measured(self) -> bool:
        """Whether there was a request to measure."""
        return self._requests > 0

    @property
    def tokens_per_request(self) -> float:
        """The mean; 0 before the first."""
        return self._tokens / self._requests if self.measured else 0.0

    @property
    def seconds_per_request(self) -> float:
        """The mean; 0 before the first."""
        return self._seconds / self._requests if self.measured else 0.0

    def record(self, tokens: int, seconds: float) -> None:
        """Take a request into account that has more than 0 tokens, with its share of the model's time."""
        self._requests = self._requests * _MEMORY + 1
        self._tokens = self._tokens * _MEMORY + tokens
        self._seconds = self._seconds * _MEMORY + seconds

    def seconds(self, tokens: float) -> float:
        """Return how long so many tokens take; 0 before the first measurement."""
        return tokens * self._seconds / self._tokens if self.measured else 0.0
