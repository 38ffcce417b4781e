"""Answer: a decision with what it took."""

from dataclasses import dataclass
from enum import Enum

from archroute_server.router.decision import Decision


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of a decision, as the model counts them.

    `cached` are those of the prompt that were taken from the prefix cache. `forward_passes` counts a pass
    that is shared with other requests for each of them. `forced` are those of the answer that followed from
    the ones before them, so that the model was not asked for them; none if it was not run at all.
    """

    prompt: int
    cached: int
    dropped: int
    dropped_messages: int
    forward_passes: int
    forced: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that a decision spent in each stage.

    `queue` is the wait for the inference thread, or for an equal request that it runs for. `inference` counts
    a forward pass shared with other requests whole. For a fallback, all that came behind the tokenizing
    counts as `queue`.
    """

    queue: float
    tokenize: float
    inference: float


class FallbackReason(Enum):
    """Why the model did not decide."""

    DECIDE_BY_PASSED = "decide_by_passed"
    """The caller's budget ran out."""
    DECIDE_BY_UNREACHABLE = "decide_by_unreachable"
    """It would have run out, going by the pace of the requests before this one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine answers."""

    decision: Decision
    tokens: TokenUsage
    timings: Timings
    from_decision_cache: bool = False
    """Whether the same prompt was decided a moment ago, so that the model was not run for this one."""
    fallback_reason: FallbackReason | None = None
    """Set if the outcome is `FALLBACK`."""
