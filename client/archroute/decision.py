"""The answer to a request, as plain values."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.protobuf.duration_pb2 import Duration

from archroute.errors import ProtocolError
from archroute.v1 import router_pb2

__all__ = ["Decision", "Outcome", "RankedPolicy", "Revisions", "Timings", "TokenUsage", "from_response"]


class Outcome(enum.Enum):
    """How a decision ended. `MATCHED` names a policy, and `FALLBACK` does if the policy set declares one."""

    MATCHED = "matched"
    """The model chose a policy."""

    OTHER = "other"
    """The model decided that no policy fits."""

    LOW_CONFIDENCE = "low_confidence"
    """The best choice was less probable than `min_probability`."""

    FALLBACK = "fallback"
    """The model did not decide within `decide_by`."""

    UNRECOGNIZED = "unrecognized"
    """The server knows an outcome that this client does not. Treat it as no decision, and upgrade."""


@dataclass(frozen=True, slots=True)
class RankedPolicy:
    """One answer of the ranking."""

    policy: str
    """A policy's name, or `other`, which no policy may be called."""

    probability: float
    """Among all answers of the policy set, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """What decided, so that an answer can be explained and reproduced."""

    bundle_digest: str
    """SHA-256 of the model bundle's manifest, as `sha256:<hex>`."""

    prompt_variant: str
    """For example `arch-router/model-card`."""

    policy_set: str
    """Empty for policies that came with the request."""

    policy_set_revision: str
    """SHA-256 of the policies, as `sha256:<hex>`."""

    provider: str
    """The execution provider that ran the model, for example `cpu`."""

    temperature: float | None = None
    """What the model's probabilities were calibrated with; None if its bundle never was."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Counts of the model's own tokens, save the last two."""

    prompt_tokens: int
    """Of the prompt as the model read it, policies and chat frame included."""

    cached_tokens: int
    """Of those, taken from the prefix cache instead of being computed."""

    dropped_tokens: int
    """Of conversation text that was cut to fit the budget."""

    dropped_messages: int
    """User and assistant messages that were left out to fit the budget."""

    forward_passes: int
    """Runs of the model that the decision took, those shared with other requests included."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in seconds, as the server saw it."""

    total: float
    """From the request's arrival to its answer."""

    queue: float
    """Waiting for the inference thread, or for the decision of an equal request."""

    tokenize: float
    """Rendering and tokenizing the prompt."""

    inference: float
    """Running the model, for this request and those decided with it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which policy a conversation calls for, and how sure the router is."""

    policy: str | None
    """The matched policy, or for `FALLBACK` the set's default policy, if it declares one. Else None."""

    outcome: Outcome

    probability: float
    """Of the greedy choice, whatever the outcome, from 0 to 1. 0 for `FALLBACK`, which has no choice."""

    ranking: tuple[RankedPolicy, ...]
    """Every answer of the set, `other` included, most probable first, cut to `top_k`. The choice need not
    lead it: the choice follows the likeliest token at each branch, the ranking multiplies the branches."""

    models: tuple[str, ...]
    """The models of `policy`. Empty if that is None."""

    revisions: Revisions
    tokens: TokenUsage
    timings: Timings

    session_id: str
    """As in the request."""

    from_decision_cache: bool = False
    """Whether exactly the same was decided a moment ago, so that the model was not run again."""

    fallback_reason: str = ""
    """Why the outcome is `FALLBACK`: `decide_by_passed`, or `decide_by_unreachable` if that was foreseen and
    answered at once. Empty for any other outcome, and for a reason that this client does not know."""


_OUTCOMES: Mapping[int, Outcome] = MappingProxyType(
    {
        router_pb2.OUTCOME_MATCHED: Outcome.MATCHED,
        router_pb2.OUTCOME_OTHER: Outcome.OTHER,
        router_pb2.OUTCOME_LOW_CONFIDENCE: Outcome.LOW_CONFIDENCE,
        router_pb2.OUTCOME_FALLBACK: Outcome.FALLBACK,
    }
)
_FALLBACK_REASONS: Mapping[int, str] = MappingProxyType(
    {
        router_pb2.FALLBACK_REASON_DECIDE_BY_PASSED: "decide_by_passed",
        router_pb2.FALLBACK_REASON_DECIDE_BY_UNREACHABLE: "decide_by_unreachable",
    }
)


def from_response(response: router_pb2.RouteResponse, address: str) -> Decision:
    """Reads an answer. Whatever its other fields say, only MATCHED and FALLBACK give a policy and models.

    Raises:
        ProtocolError: The answer has no outcome, or is MATCHED and names no policy.
    """
    if response.outcome == router_pb2.OUTCOME_UNSPECIFIED:
        raise ProtocolError(f"the answer from {address} has no outcome: it is no archroute decision")
    outcome = _OUTCOMES.get(response.outcome, Outcome.UNRECOGNIZED)
    matched = outcome is Outcome.MATCHED
    if matched and not response.policy:
        raise ProtocolError(f"the answer from {address} is MATCHED but names no policy")
    policy = response.policy if matched or outcome is Outcome.FALLBACK else ""
    revisions, tokens, timings = response.revisions, response.tokens, response.timings
    return Decision(
        policy=policy or None,
        outcome=outcome,
        probability=response.probability,
        ranking=tuple(RankedPolicy(each.policy, each.probability) for each in response.ranking),
        models=tuple(response.models) if policy else (),
        revisions=Revisions(
            bundle_digest=revisions.bundle_digest,
            prompt_variant=revisions.prompt_variant,
            policy_set=revisions.policy_set,
            policy_set_revision=revisions.policy_set_revision,
            provider=revisions.provider,
            temperature=revisions.temperature or None,
        ),
        tokens=TokenUsage(
            prompt_tokens=tokens.prompt_tokens,
            cached_tokens=tokens.cached_tokens,
            dropped_tokens=tokens.dropped_tokens,
            dropped_messages=tokens.dropped_messages,
            forward_passes=tokens.forward_passes,
        ),
        timings=Timings(
            total=_seconds(timings.total),
            queue=_seconds(timings.queue),
            tokenize=_seconds(timings.tokenize),
            inference=_seconds(timings.inference),
        ),
        session_id=response.session_id,
        from_decision_cache=response.from_decision_cache,
        fallback_reason=_FALLBACK_REASONS.get(response.fallback_reason, ""),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
