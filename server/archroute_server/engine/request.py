"""Request: a question on its way through the inference thread, and what comes back."""

import time
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from archroute_server.engine.branch_probabilities import Row
from archroute_server.engine.packed_row import Question
from archroute_server.engine.time_limit import UNLIMITED, TimeLimit
from archroute_server.telemetry.stages import Stage, StageObserver, StageRun, unobserved


@dataclass(frozen=True, slots=True)
class Settled:
    """What the inference thread gives back; `started` is of `time.perf_counter`."""

    branches: tuple[Row | None, ...]
    cached: int
    forward_passes: int
    started: float
    seconds: float
    requests: int = 1
    """How many requests the same run of the model decided."""


@dataclass(eq=False, slots=True)
class Request:
    """A question on its way through the inference thread.

    The first `reusable` tokens of its prompt are worth keeping. Until it runs, cancelling `future` takes it
    out of the queue, and so does the passing of its limit.
    """

    question: Question
    reusable: int
    limit: TimeLimit = UNLIMITED
    observer: StageObserver = unobserved
    future: Future[Settled] = field(default_factory=Future)
    queued: float = field(default_factory=time.perf_counter)
    arrived: float = 0.0
    """When it was put into the queue, of the queue's clock."""

    def leave_queue(self, error: type[BaseException] | None = None) -> None:
        """Tell the observer how long the request waited, and what ended that if it was not its turn."""
        name = "" if error is None else error.__name__
        self.observer(StageRun(Stage.QUEUE, self.queued, time.perf_counter(), error=name))

    def gave_up(self, *, expired: bool) -> None:
        """Tell the observer that nobody waits for it any more: its time is over, or its caller hung up."""
        self.leave_queue(type(self.limit.passed()) if expired else CancelledError)
