"""One call to the models of a selection: which is asked next, after what wait, and when to give up.

    next_step ──> Step ──> a client asks ──┬── answered ──> Routed
        ^                                  └── failed ──┬── raises what no other model would do better
        └───────────────────────────────────────────────┘

Asks nobody itself, so that the client that blocks and its asyncio twin have it in common.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import openai

from archroute.errors import ModelMapError
from archroute.openai.resting import Resting
from archroute.openai.retry_after import retry_after
from archroute.openai.routed import Attempt, Routed
from archroute.selection.model import Model
from archroute.selection.selection import Selection

__all__ = ["Failover", "Step", "may_pass"]

_Result = TypeVar("_Result")

# Too many requests, and the provider's own timeout; all from 500 on are the provider's as well.
_PASSING_STATUSES = (408, 429)


@dataclass(frozen=True, slots=True)
class Step:
    """Whom to ask now."""

    model: Model

    wait: float
    """Seconds to wait before."""


class Failover:
    """The state of one call. Belongs to one thread or task."""

    def __init__(
        self,
        selection: Selection,
        resting: Resting,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins with the selection's model.

        Args:
            selection: Whose model and alternatives are tried, each once, in this order.
            resting: Models that are left alone for now. They come after the others.
            patience: Seconds that may be waited, in all, for models that said when to come back.
            clock: Seconds, of any clock that does not go back.
        """
        self._selection = selection
        self._resting = resting
        self._patience = patience
        self._clock = clock
        self._left = [selection.model, *selection.alternatives]
        self._asked_again: set[str] = set()
        self._attempts: list[Attempt] = []
        self._since = clock()

    def next_step(self) -> Step:
        """Whom to ask next.

        Raises:
            Exception: The error of the model that was asked last, if there is none left, with a note on every
                model that was asked.
        """
        now = self._clock()
        waits = [self._resting.seconds_left(model.name, now) for model in self._left]
        # The first one that needs no wait; `index` finds the first of several.
        shortest = min(waits, default=0.0)
        if not self._left or (shortest > self._patience and self._attempts):
            raise self._given_up()
        model = self._left.pop(waits.index(shortest))
        # If all of them rest for long and none was asked yet, one is: only it can say what the matter is.
        wait = shortest if shortest <= self._patience else 0.0
        self._patience -= wait
        self._since = now + wait
        return Step(model, wait)

    def failed(self, model: Model, error: Exception) -> Attempt:
        """The model could not be asked, or did not give what was asked for. Returns that attempt.

        Raises:
            Exception: `error` itself, if another model would most likely fail in the same way.
        """
        attempt = self._attempted(model, error)
        if not may_pass(error):
            raise error
        seconds = _invitation(error)
        if seconds is not None:
            self._resting.rest(model.name, self._clock() + seconds)
            # Once: who gives the same answer again would do so for ever.
            if model.name not in self._asked_again:
                self._asked_again.add(model.name)
                self._left.append(model)
        return attempt

    def answered(self, model: Model, result: _Result) -> Routed[_Result]:
        """The model gave a result, or the first chunk of one."""
        self._attempted(model, None)
        return Routed(result, self._selection, tuple(self._attempts))

    def _attempted(self, model: Model, error: Exception | None) -> Attempt:
        attempt = Attempt(model, error, max(0.0, self._clock() - self._since))
        self._attempts.append(attempt)
        return attempt

    def _given_up(self) -> Exception:
        error = self._attempts[-1].error
        assert error is not None, "a call ends with its first answer"
        asked = ", ".join(f"{each.model.name} ({_summary(each.error)})" for each in self._attempts)
        error.add_note(f"archroute asked every model of the selection: {asked}")
        return error


def may_pass(error: Exception) -> bool:
    """Whether another model may do better.

    So it is after a timeout, a broken connection, an answer that cannot be read, an error within a stream,
    the statuses 408, 429 and all from 500 on, and if the model map does not say how to call the model. After
    others, such as a request that is wrong or a key that is not accepted, it is for the caller to act.
    """
    if isinstance(error, openai.APIStatusError):
        return error.status_code in _PASSING_STATUSES or error.status_code >= 500
    # What comes within a stream is an APIError itself, with neither a status nor a class of its own.
    return (
        isinstance(error, openai.APIConnectionError | openai.APIResponseValidationError | ModelMapError)
        or type(error) is openai.APIError
    )


def _invitation(error: Exception) -> float | None:
    """In how many seconds the provider wants to be asked again; None if it did not say."""
    if not isinstance(error, openai.APIStatusError):
        return None
    return retry_after(error.response.headers, datetime.now(UTC))


def _summary(error: Exception | None) -> str:
    # Not the message: it is the provider's, and may repeat what was said.
    kind = type(error).__name__
    return f"{kind} {error.status_code}" if isinstance(error, openai.APIStatusError) else kind
