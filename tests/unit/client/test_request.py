from typing import Any

import pytest

from archroute import InvalidRequestError, Policy, RouteRequest
from archroute.request import to_request
from archroute.v1 import router_pb2


def test_everything_is_sent() -> None:
    request = RouteRequest(
        messages="hi", policy_set="gateway", top_k=3, min_probability=0.25, session_id="session-7"
    )
    assert to_request(request) == router_pb2.RouteRequest(
        policy_set="gateway",
        messages=[router_pb2.Message(role=router_pb2.ROLE_USER, parts=[router_pb2.Part(text="hi")])],
        options=router_pb2.RouteOptions(top_k=3, min_probability=0.25),
        session_id="session-7",
    )


@pytest.mark.parametrize(
    ("policies", "policy_set", "sent"),
    [
        (None, None, None),
        (None, "gateway", "policy_set"),
        (None, "", "policy_set"),
        ([Policy("a", "b")], None, "inline_policies"),
        # No policies at all is a mistake that the server must see, and not a wish for its default set.
        ([], None, "inline_policies"),
    ],
)
def test_which_policies_are_meant_is_kept(policies: Any, policy_set: str | None, sent: str | None) -> None:
    message = to_request(RouteRequest(messages="hi", policies=policies, policy_set=policy_set))
    read = router_pb2.RouteRequest.FromString(message.SerializeToString())
    assert read.WhichOneof("policies") == sent
    assert len(read.inline_policies.policies) == len(policies or ())


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("top_k", {"top_k": -1}),
        ("top_k", {"top_k": 2**32}),
        ("top_k", {"top_k": 1.5}),
        ("top_k", {"top_k": True}),
        ("min_probability", {"min_probability": "0.5"}),
        ("min_probability", {"min_probability": 1.01}),
        ("min_probability", {"min_probability": -0.01}),
        ("min_probability", {"min_probability": float("nan")}),
        ("min_probability", {"min_probability": 10**400}),
        ("min_probability", {"min_probability": True}),
        ("session_id", {"session_id": "\udc80"}),
        ("session_id", {"session_id": None}),
        ("policy_set", {"policy_set": "\udc80"}),
        ("policy_set", {"policy_set": 7}),
        ("policy_set", {"policy_set": "gateway", "policies": []}),
        ("policies", {"policies": "gateway"}),
        ("decide_by", {"decide_by": "1"}),
        ("decide_by", {"decide_by": True}),
        ("decide_by", {"decide_by": 0}),
        ("decide_by", {"decide_by": -1.5}),
        ("decide_by", {"decide_by": float("nan")}),
        ("decide_by", {"decide_by": float("inf")}),
        ("decide_by", {"decide_by": 10**400}),
    ],
)
def test_what_cannot_be_sent_is_named(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_request(RouteRequest(messages="hi", **values))
    assert [violation.field for violation in caught.value.field_violations] == [field]


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"),
    [(0.25, 250_000_000), (3, 3_000_000_000), (1e-12, 1), (315_576_000_000, 315_576 * 10**15)],
)
def test_a_budget_is_sent(seconds: float, nanoseconds: int) -> None:
    message = to_request(RouteRequest(messages="hi", decide_by=seconds))
    assert message.options.decide_by.ToNanoseconds() == nanoseconds


def test_no_budget_is_not_one_of_0() -> None:
    assert not to_request(RouteRequest(messages="hi")).options.HasField("decide_by")
