"""Answer: a decision with what it took."""

from dataclasses import dataclass

from archroute_server.router.decision import Decision


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of a decision, as the model counts them.

    `cached` are those of the prompt that were taken from the prefix cache. `forward_passes` counts a pass
    that is shared with other requests for each of them.
    """

    prompt: int
    cached: int
    dropped: int
    dropped_messages: int
    forward_passes: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that a decision spent in each stage.

    `queue` is the wait for the inference thread. `inference` counts a forward pass shared with other requests
    whole.
    """

    queue: float
    tokenize: float
    inference: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine answers."""

    decision: Decision
    tokens: TokenUsage
    timings: Timings
