from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute import InvalidRequestError, Policy, PolicySet, PolicySetSummary
from archroute.policy import to_policies
from archroute.v1 import router_pb2

TEXT = st.text(st.characters(codec="utf-8"))
POLICY = st.builds(Policy, TEXT, TEXT, st.lists(TEXT).map(tuple))


@given(st.lists(POLICY))
def test_policies_survive_the_wire(policies: list[Policy]) -> None:
    sent = router_pb2.PolicySet(name="set", revision="sha256:1", policies=to_policies(policies))
    read = PolicySet.from_message(router_pb2.PolicySet.FromString(sent.SerializeToString()))
    assert read == PolicySet("set", "sha256:1", tuple(policies))


def test_a_dict_is_a_policy() -> None:
    as_dicts = [
        {"name": "a", "description": "b", "models": ["c", "d"]},
        {"name": "e", "description": "f"},
    ]
    assert to_policies(as_dicts) == to_policies([Policy("a", "b", ("c", "d")), Policy("e", "f")])


def test_a_summary_is_read() -> None:
    message = router_pb2.PolicySetSummary(name="a", revision="sha256:1", policy_count=3, is_default=True)
    assert PolicySetSummary.from_message(message) == PolicySetSummary("a", "sha256:1", 3, True)


OK = Policy("a", "b")


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        ("a", "policies"),
        (None, "policies"),
        (OK, "policies"),
        ({"name": "a", "description": "b"}, "policies"),
        ([OK, "a"], "policies[1]"),
        ([OK, {"name": "a", "description": "b", "model": "c"}], "policies[1]"),
        ([{"description": "b"}], "policies[0].name"),
        ([{"name": True, "description": "b"}], "policies[0].name"),
        ([{"name": "a"}], "policies[0].description"),
        ([{"name": "a", "description": "\udc80"}], "policies[0].description"),
        ([{"name": "a", "description": "b", "models": "gpt"}], "policies[0].models"),
        ([{"name": "a", "description": "b", "models": 7}], "policies[0].models"),
        ([{"name": "a", "description": "b", "models": ["c", 7]}], "policies[0].models[1]"),
    ],
)
def test_what_cannot_be_sent_is_named(policies: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_policies(policies)
    assert [violation.field for violation in caught.value.field_violations] == [field]
