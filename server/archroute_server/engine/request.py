"""Request: a question on its way through the inference thread, and what comes back."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from archroute_server.engine.branch_probabilities import Row
from archroute_server.engine.packed_row import Question
from archroute_server.engine.time_limit import UNLIMITED, TimeLimit


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
    future: Future[Settled] = field(default_factory=Future)
