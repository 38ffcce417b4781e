"""Answer: a decision with what it took."""

from dataclasses import dataclass

from archroute_server.router.decision import Decision


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of a decision, as the model counts them."""

    prompt: int
    cached: int
    dropped: int
    dropped_messages: int
    forward_passes: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that a decision spent in each stage."""

    queue: float
    tokenize: float
    inference: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine answers."""

    decision: Decision
    tokens: TokenUsage
    timings: Timings
