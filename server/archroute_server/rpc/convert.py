"""Between the protocol's messages and the router's own values."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from archroute.v1 import router_pb2
from archroute_server.engine.answer import Answer, FallbackReason, Timings
from archroute_server.engine.identity import Identity
from archroute_server.router.decision import Outcome
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import MAX_POLICIES, Policy, PolicySet
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.errors import NoDefaultPolicySet

ROLES: dict[int, Role] = {
    router_pb2.ROLE_SYSTEM: Role.SYSTEM,
    router_pb2.ROLE_DEVELOPER: Role.DEVELOPER,
    router_pb2.ROLE_USER: Role.USER,
    router_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
    router_pb2.ROLE_TOOL: Role.TOOL,
}

OUTCOMES: dict[Outcome, router_pb2.Outcome] = {
    Outcome.MATCHED: router_pb2.OUTCOME_MATCHED,
    Outcome.OTHER: router_pb2.OUTCOME_OTHER,
    Outcome.LOW_CONFIDENCE: router_pb2.OUTCOME_LOW_CONFIDENCE,
    Outcome.FALLBACK: router_pb2.OUTCOME_FALLBACK,
}

FALLBACK_REASONS: dict[FallbackReason | None, router_pb2.FallbackReason] = {
    None: router_pb2.FALLBACK_REASON_UNSPECIFIED,
    FallbackReason.DECIDE_BY_PASSED: router_pb2.FALLBACK_REASON_DECIDE_BY_PASSED,
    FallbackReason.DECIDE_BY_UNREACHABLE: router_pb2.FALLBACK_REASON_DECIDE_BY_UNREACHABLE,
}

_INLINE = "inline_policies"

# A message of the protocol takes as little as two bytes. Millions of them would hold up every other call
# while they are looked at one by one, only for the newest few to be read.
MAX_MESSAGES = 10_000
MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks, in the router's terms."""

    policies: PolicySet
    messages: tuple[Message, ...]
    min_probability: float
    decide_by: float = math.inf
    """Seconds from the request's arrival; infinite if it set none."""


def read_question(request: router_pb2.RouteRequest, policy_sets: PolicySets) -> Question:
    """Read a request and say everything that is wrong with it at once.

    Raises `InvalidRequest`, `PolicySetNotFound` and `NoDefaultPolicySet`.
    """
    if too_many := tuple(_count_violations(request)):
        raise InvalidRequest(*too_many)
    violations = [*_role_violations(request.messages), *_option_violations(request.options)]
    policies: PolicySet | None = None
    try:
        policies = _read_policies(request, policy_sets)
    except InvalidRequest as error:
        violations[:0] = error.violations
    if violations or policies is None:
        raise InvalidRequest(*violations)
    messages = tuple(Message(ROLES[message.role], _text(message)) for message in request.messages)
    options = request.options
    decide_by = _seconds(options.decide_by) if options.HasField("decide_by") else math.inf
    return Question(policies, messages, options.min_probability, decide_by)


def find_policy_set(name: str, policy_sets: PolicySets) -> PolicySet:
    """Return the named set, the default one for "". Raises `PolicySetNotFound` and `NoDefaultPolicySet`."""
    if not name and not policy_sets.default_name:
        raise NoDefaultPolicySet
    return policy_sets.get(name)


def in_request_terms(error: InvalidRequest, request: router_pb2.RouteRequest) -> InvalidRequest:
    """Return the error with its paths as the caller wrote the request: inline policies lie one level down."""
    if request.WhichOneof("policies") != _INLINE:
        return error
    return InvalidRequest(*map(_inline, error.violations))


def write_response(
    answer: Answer, question: Question, request: router_pb2.RouteRequest, identity: Identity, total: float
) -> router_pb2.RouteResponse:
    """Write the answer. `total` is in seconds, from the request's arrival."""
    decision = answer.decision
    ranking = decision.ranking[: request.options.top_k or None]
    return router_pb2.RouteResponse(
        policy=decision.policy or "",
        outcome=OUTCOMES[decision.outcome],
        probability=decision.probability,
        ranking=[
            router_pb2.RankedPolicy(policy=ranked.policy, probability=ranked.probability)
            for ranked in ranking
        ],
        models=decision.models,
        revisions=router_pb2.Revisions(
            bundle_digest=identity.bundle_digest,
            prompt_variant=identity.prompt_variant,
            policy_set=question.policies.name,
            policy_set_revision=question.policies.revision,
            provider=identity.provider,
            temperature=identity.temperature or 0.0,
        ),
        tokens=router_pb2.TokenUsage(
            prompt_tokens=answer.tokens.prompt,
            cached_tokens=answer.tokens.cached,
            dropped_tokens=answer.tokens.dropped,
            dropped_messages=answer.tokens.dropped_messages,
            forward_passes=answer.tokens.forward_passes,
        ),
        timings=_write_timings(answer.timings, total),
        session_id=request.session_id,
        from_decision_cache=answer.from_decision_cache,
        fallback_reason=FALLBACK_REASONS[answer.fallback_reason],
    )


def write_summary(policy_set: PolicySet, policy_sets: PolicySets) -> router_pb2.PolicySetSummary:
    """Write a policy set without its policies."""
    return router_pb2.PolicySetSummary(
        name=policy_set.name,
        revision=policy_set.revision,
        policy_count=len(policy_set.policies),
        is_default=policy_set.name == policy_sets.default_name,
        stored=policy_sets.is_stored(policy_set.name),
    )


def write_policy_set(policy_set: PolicySet, *, stored: bool) -> router_pb2.PolicySet:
    """Write a policy set whole."""
    return router_pb2.PolicySet(
        name=policy_set.name,
        revision=policy_set.revision,
        policies=[
            router_pb2.Policy(name=policy.name, description=policy.description, models=policy.models)
            for policy in policy_set.policies
        ],
        default_policy=policy_set.default_policy or "",
        stored=stored,
    )


def read_policies(messages: Iterable[router_pb2.Policy]) -> tuple[Policy, ...]:
    """Read policies, whether or not they are valid."""
    return tuple(Policy(policy.name, policy.description, tuple(policy.models)) for policy in messages)


def _read_policies(request: router_pb2.RouteRequest, policy_sets: PolicySets) -> PolicySet:
    if request.WhichOneof("policies") != _INLINE:
        return find_policy_set(request.policy_set, policy_sets)
    inline = request.inline_policies
    try:
        return PolicySet("", read_policies(inline.policies), inline.default_policy or None)
    except InvalidRequest as error:
        raise in_request_terms(error, request) from None


def _inline(violation: Violation) -> Violation:
    if not violation.field.startswith(("policies", "default_policy")):
        return violation
    return Violation(f"{_INLINE}.{violation.field}", violation.description)


def _text(message: router_pb2.Message) -> str:
    return "\n".join(part.text for part in message.parts if part.HasField("text"))


def _count_violations(request: router_pb2.RouteRequest) -> Iterator[Violation]:
    """Say what there is too much of to be looked at."""
    if (policies := len(request.inline_policies.policies)) > MAX_POLICIES:
        reason = f"holds {policies} policies; the limit is {MAX_POLICIES}"
        yield Violation(f"{_INLINE}.policies", reason)
    if (messages := len(request.messages)) > MAX_MESSAGES:
        reason = f"holds {messages} messages; the limit is {MAX_MESSAGES}: send the newest"
        yield Violation("messages", reason)
    elif (parts := sum(len(message.parts) for message in request.messages)) > MAX_PARTS:
        yield Violation("messages", f"have {parts} parts; the limit is {MAX_PARTS} in all")


def _role_violations(messages: Iterable[router_pb2.Message]) -> Iterator[Violation]:
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            names = ", ".join(router_pb2.Role.Name(role) for role in ROLES)
            yield Violation(f"messages[{index}].role", f"is {_role_name(message.role)}; use one of {names}")


def _role_name(role: int) -> str:
    # An enum of proto3 is open: a newer client may send a number that has no name here.
    known = router_pb2.Role.values()
    return router_pb2.Role.Name(router_pb2.Role.ValueType(role)) if role in known else f"unknown ({role})"


def _option_violations(options: router_pb2.RouteOptions) -> Iterator[Violation]:
    minimum = options.min_probability
    if math.isnan(minimum) or not 0.0 <= minimum <= 1.0:
        yield Violation("options.min_probability", f"is {minimum:g}; give a number from 0 to 1")
    if options.HasField("decide_by") and _seconds(options.decide_by) <= 0:
        reason = f"is {_seconds(options.decide_by):g} s; give a time above 0, or leave it out for no limit"
        yield Violation("options.decide_by", reason)


def _write_timings(timings: Timings, total: float) -> router_pb2.Timings:
    return router_pb2.Timings(
        total=write_duration(total),
        queue=write_duration(timings.queue),
        tokenize=write_duration(timings.tokenize),
        inference=write_duration(timings.inference),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def write_duration(seconds: float) -> Duration:
    """Write seconds as Protobuf has them, to the nanosecond."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1_000_000_000))
    return duration
