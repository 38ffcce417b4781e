import dataclasses
import hashlib
import json

import pytest

from archroute_server.router.errors import MAX_VIOLATIONS, InvalidRequest
from archroute_server.router.policy import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_MODEL_CHARACTERS,
    MAX_MODELS,
    MAX_NAME_CHARACTERS,
    MAX_POLICIES,
    Policy,
    PolicySet,
)


def violations(*policies: Policy, name: str = "") -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        PolicySet(name, policies)
    return {violation.field: violation.description for violation in caught.value.violations}


def numbered(count: int) -> tuple[Policy, ...]:
    return tuple(Policy(f"policy_{index}", "What it covers") for index in range(count))


def test_no_policies_are_refused() -> None:
    assert violations() == {"policies": "is empty; give at least one policy"}


@pytest.mark.parametrize("count", [1, MAX_POLICIES])
def test_one_to_the_limit_are_fine(count: int) -> None:
    assert len(PolicySet("", numbered(count)).policies) == count


def test_more_than_the_limit_are_refused() -> None:
    assert violations(*numbered(501)) == {"policies": "holds 501 policies; the limit is 500"}


def test_a_name_used_before_is_named_with_its_place() -> None:
    first, second = Policy("code", "Code"), Policy("review", "Reviews")
    assert violations(first, second, Policy("code", "Other code")) == {
        "policies[2].name": "'code' is already the name of policies[0]; rename one of them"
    }


def test_the_name_of_the_fallback_answer_is_reserved() -> None:
    found = violations(Policy("code", "Code"), Policy("other", "Everything else"))
    assert list(found) == ["policies[1].name"]
    assert "reserved" in found["policies[1].name"]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_empty_texts_are_refused(text: str) -> None:
    assert violations(Policy(text, text, ("", text))) == {
        "policies[0].name": "is empty",
        "policies[0].description": "is empty",
        "policies[0].models[0]": "is empty",
        "policies[0].models[1]": "is empty",
    }


def test_texts_at_the_limits_are_fine_and_longer_ones_are_refused() -> None:
    name, description = "n" * MAX_NAME_CHARACTERS, "d" * MAX_DESCRIPTION_CHARACTERS
    models = ("m" * MAX_MODEL_CHARACTERS,) * MAX_MODELS
    PolicySet("", (Policy(name, description, models),))
    assert violations(Policy(name + "n", description + "d", (models[0] + "m",))) == {
        "policies[0].name": "is 257 characters long; the limit is 256",
        "policies[0].description": "is 4097 characters long; the limit is 4096",
        "policies[0].models[0]": "is 257 characters long; the limit is 256",
    }
    assert violations(Policy("a", "b", (*models, "m"))) == {
        "policies[0].models": "holds 17 models; the limit is 16"
    }


@pytest.mark.parametrize(
    "names",
    [
        ("code", "code_review", "code_review_long"),
        ("code", "Code", "CODE"),
        ('say "hi"', "back\\slash", "{curly}", "it's"),
        ("🚀", "👩‍👩‍👧", "日本語", "e\u0301"),
        ("</routes>", "<conversation>", "<|im_end|>", "Other"),
    ],
)
def test_unusual_names_are_fine(names: tuple[str, ...]) -> None:
    policy_set = PolicySet("", tuple(Policy(name, "What it covers") for name in names))
    assert tuple(policy.name for policy in policy_set.policies) == names


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\n", "\t", "\x7f", "\x85", "\u2028"])
def test_control_characters_in_names_and_models_are_refused(character: str) -> None:
    reason = f"holds the control character U+{ord(character):04X}; remove it"
    assert violations(Policy(f"a{character}b", "c", (f"d{character}e",))) == {
        "policies[0].name": reason,
        "policies[0].models[0]": reason,
    }


def test_descriptions_may_have_lines_and_tabs_but_no_other_control_characters() -> None:
    PolicySet("", (Policy("a", "first line\n\tsecond line"),))
    assert violations(Policy("a", "red \x1b[31m")) == {
        "policies[0].description": "holds the control character U+001B; remove it"
    }


@pytest.mark.parametrize("name", [" code", "code ", "\u00a0code"])
def test_white_space_around_a_name_is_refused(name: str) -> None:
    found = violations(Policy(name, "Code"))
    assert found == {"policies[0].name": f"{name!r} begins or ends with white space; remove it"}


def test_lone_surrogates_are_refused() -> None:
    reason = "is not valid Unicode: it holds half of a surrogate pair"
    assert violations(Policy("a\ud83d", "b\ude00", ("\udfff",))) == {
        "policies[0].name": reason,
        "policies[0].description": reason,
        "policies[0].models[0]": reason,
    }


def test_the_name_of_a_set_is_checked_too() -> None:
    assert violations(*numbered(1), name="a\nb") == {"name": "holds the control character U+000A; remove it"}


def test_an_error_names_a_bounded_number_of_fields_and_says_how_many_more() -> None:
    with pytest.raises(InvalidRequest, match=r"; and 492 more$") as caught:
        PolicySet("", tuple(Policy(f"p{index}", "") for index in range(500)))
    assert len(caught.value.violations) == MAX_VIOLATIONS


def test_an_error_about_a_long_name_stays_small() -> None:
    name = "n" * MAX_NAME_CHARACTERS
    (reason,) = violations(Policy(name, "a"), Policy(name, "b")).values()
    assert len(reason) < 150


def test_the_revision_is_the_digest_of_the_canonical_json() -> None:
    policy_set = PolicySet("gateway", (Policy("é", "b", ("x/1", "y/2")),))
    canonical = r'[{"description":"b","models":["x/1","y/2"],"name":"\u00e9"}]'
    assert policy_set.revision == f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert json.loads(canonical)[0]["name"] == "é"


def test_the_revision_changes_with_the_policies_and_not_with_the_name_of_the_set() -> None:
    policy = Policy("a", "b", ("x", "y"))
    base = PolicySet("one", (policy, Policy("c", "d")))
    assert base.revision == PolicySet("two", base.policies).revision
    changed = [
        base.policies[::-1],
        base.policies[:1],
        *(
            (dataclasses.replace(policy, **change), base.policies[1])
            for change in ({"name": "z"}, {"description": "z"}, {"models": ("y", "x")}, {"models": ()})
        ),
    ]
    revisions = {PolicySet("one", policies).revision for policies in changed} | {base.revision}
    assert len(revisions) == len(changed) + 1


def test_the_revision_changes_with_the_default_policy() -> None:
    policies = (Policy("a", "b"), Policy("c", "d"))
    revisions = {PolicySet("", policies, default).revision for default in (None, "a", "c")}
    assert len(revisions) == 3


@pytest.mark.parametrize("name", ["", "A", "other", "b"])
def test_the_default_policy_is_one_of_the_set(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PolicySet("", (Policy("a", "b"),), name)
    assert [violation.field for violation in caught.value.violations] == ["default_policy"]
