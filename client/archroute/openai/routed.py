"""What came back, with the selection that it came by."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from archroute.selection.model import Model
from archroute.selection.selection import Selection

__all__ = ["Attempt", "Routed"]

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model that was asked."""

    model: Model

    error: Exception | None
    """What went wrong; None if it answered."""

    seconds: float
    """Until its answer or its error; of a stream, until its first chunk."""


@dataclass(frozen=True, slots=True)
class Routed(Generic[_Result]):
    """A result, and how it came about."""

    result: _Result
    """What `create` returns: a `ChatCompletion`, or the stream of its chunks."""

    selection: Selection

    attempts: tuple[Attempt, ...]
    """Every model that was asked, in this order. The last one gave the result."""

    @property
    def model(self) -> Model:
        """Which model gave the result: give its name to `report` together with the selection."""
        return self.attempts[-1].model
