"""A request, as plain values, and how it goes over the wire."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from archroute.fields import checked_text, invalid, kind_of
from archroute.message import Conversation, to_messages
from archroute.policy import Policy, to_policies
from archroute.v1 import router_pb2

__all__ = ["RouteRequest", "to_request"]

_UINT32_MAX = 2**32 - 1
# What google.protobuf.Duration holds: ten thousand years.
_DURATION_MAX = 315_576_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRequest:
    """What `Router.route` asks, for requests that go over a stream."""

    messages: Conversation
    """Messages, oldest first, or the text of a single user message."""

    policy_set: str | None = None
    """The name of a policy set on the server. With neither this nor `policies`, its default set."""

    policies: Iterable[Policy | Mapping[str, object]] | None = None
    """The policies themselves, instead of `policy_set`."""

    top_k: int = 0
    """How many entries of the ranking to return, best first. 0 returns all."""

    min_probability: float = 0.0
    """Below this probability, from 0 to 1, the outcome is `LOW_CONFIDENCE`. 0 accepts every decision."""

    session_id: str = ""
    """Names the conversation, so that the turns of one can be told from another's."""

    decide_by: float | None = None
    """Seconds that the server may take to decide, before the outcome is `FALLBACK`. None for no limit."""


def to_request(request: RouteRequest) -> router_pb2.RouteRequest:
    """Converts a request. Checks each value by itself; whether they make sense is for the server to say.

    Raises:
        InvalidRequestError: Naming the field.
    """
    message = router_pb2.RouteRequest(
        messages=to_messages(request.messages),
        options=router_pb2.RouteOptions(
            top_k=_to_top_k(request.top_k), min_probability=_to_probability(request.min_probability)
        ),
        session_id=checked_text(request.session_id, "session_id"),
    )
    if request.decide_by is not None:
        message.options.decide_by.CopyFrom(_to_duration(request.decide_by))
    if request.policies is not None:
        if request.policy_set is not None:
            raise invalid("policy_set", "give either policy_set or policies, not both")
        # A list without policies is still one: without this line the server would use its default set.
        message.inline_policies.SetInParent()
        message.inline_policies.policies.extend(to_policies(request.policies))
    elif request.policy_set is not None:
        message.policy_set = checked_text(request.policy_set, "policy_set")
    return message


def _to_top_k(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("top_k", f"must be a whole number, not {kind_of(value)}")
    if not 0 <= value <= _UINT32_MAX:
        raise invalid("top_k", "must be 0, for all, or more")
    return value


def _to_probability(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid("min_probability", f"must be a number from 0 to 1, not {kind_of(value)}")
    if not 0 <= value <= 1:
        raise invalid("min_probability", f"must be from 0 to 1, not {value}")
    return float(value)


def _to_duration(value: object) -> Duration:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid("decide_by", f"must be a number of seconds, not {kind_of(value)}")
    if not 0 < value <= _DURATION_MAX:
        raise invalid("decide_by", f"must be above 0 seconds, or None for no limit, not {value}")
    duration = Duration()
    # At least one, since what rounds to nothing is not nothing.
    duration.FromNanoseconds(max(1, round(value * 1_000_000_000)))
    return duration
