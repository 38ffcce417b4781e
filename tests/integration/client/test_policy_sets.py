"""The methods of both clients that check and change policy sets, against a real socket."""

from typing import Any

import pytest

from archroute import Finding, InvalidRequestError, Policy, PolicySet, Severity, Validation

POLICIES = [Policy("code", "Writing code", ("large",)), {"name": "talk", "description": "Greetings"}]
READ = (Policy("code", "Writing code", ("large",)), Policy("talk", "Greetings"))


def test_a_set_is_checked(server: Any, client: Any) -> None:
    validation = client(server.address).call("validate_policy_set", POLICIES, name="mine")
    assert validation == Validation(
        (Finding(Severity.WARNING, "NAMES_ALIKE", "policies[1].name", "is almost policies[0].name"),),
        "sha256:1",
        100,
        4096,
    )
    assert validation.usable
    [request] = server.policy_sets.requests
    assert request.policy_set.name == "mine"
    assert [each.name for each in request.policy_set.policies] == ["code", "talk"]


@pytest.mark.parametrize("revision", [None, "", "sha256:1"])
def test_a_set_is_put_and_deleted(server: Any, client: Any, revision: str | None) -> None:
    opened = client(server.address)
    stored = opened.call("put_policy_set", "mine", POLICIES, default_policy="talk", if_revision=revision)
    assert stored == PolicySet("mine", "sha256:2", READ, "talk", stored=True)
    assert opened.call("delete_policy_set", "mine", if_revision=revision) is None
    for request in server.policy_sets.requests:
        # Empty is not the same as unset.
        assert request.HasField("if_revision") == (revision is not None)
        assert request.if_revision == (revision or "")


@pytest.mark.parametrize(
    ("arguments", "options", "field"),
    [
        ((7, POLICIES), {}, "name"),
        (("mine", "code"), {}, "policies"),
        (("mine", POLICIES), {"default_policy": 7}, "default_policy"),
    ],
)
def test_what_cannot_be_sent_is_named(
    server: Any, client: Any, arguments: Any, options: Any, field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client(server.address).call("put_policy_set", *arguments, **options)
    assert [each.field for each in caught.value.field_violations] == [field]
    assert not server.policy_sets.requests
