"""FinishedRequest: what is known of a request at its end, for the log and for whoever counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DecidedRequest:
    """A decision and what it took. Holds no text of the conversation. Times are in seconds."""

    outcome: str
    """The name of a `router.decision.Outcome`."""
    policy: str | None
    """The policy that matched, if one did."""
    probability: float
    policy_set: str
    """Empty for policies that came with the request."""
    prompt_tokens: int
    cached_tokens: int
    dropped_tokens: int
    dropped_messages: int
    forced_tokens: int
    forward_passes: int
    from_decision_cache: bool
    fallback_reason: str | None
    """Why the model did not decide, if it did not: the name of an `engine.answer.FallbackReason`."""
    queue: float
    tokenize: float
    inference: float


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """A request at its end, whatever became of it; or a whole stream of them, if `stream` is set."""

    method: str
    code: str
    """The gRPC status code's name."""
    reason: str
    """What `rpc.status` says went wrong; empty for OK and for a call that the caller ended."""
    seconds: float
    """From its arrival."""
    stream: bool = False
    decided: DecidedRequest | None = None
    identifiers: Mapping[str, str] = field(default_factory=dict)
    """What the caller can name it by, such as `request_id`."""
    trace_id: str = ""
    """Of the trace that it is part of, if that is recorded."""
