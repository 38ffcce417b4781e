import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.catalogue import findings
from archroute_server.catalogue.findings import Finding, Severity
from archroute_server.engine.policy_set_size import PolicySetSize
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.policy import MAX_POLICIES, Policy, PolicySet

SMALL = PolicySetSize(prompt_tokens=100, max_prompt_tokens=4096, branch_tokens=9, max_branch_tokens=1024)
CODE = Policy("code_generation", "Writing functions, classes and scripts in any language", ("a",))
TALK = Policy("small_talk", "Greetings, thanks, jokes and chatting about nothing in particular", ("b",))


def found(*policies: Policy, size: PolicySetSize = SMALL) -> list[tuple[str, str]]:
    warnings = findings.warnings(policies, size)
    assert {each.severity for each in warnings} <= {Severity.WARNING}
    return [(each.code, each.field) for each in warnings]


def test_ordinary_policies_are_not_doubtful() -> None:
    assert found(CODE, TALK, Policy("code_review", "Judging changes before a merge", ("a",))) == []
    numbered = [Policy(f"area_{letter}", f"{letter * 9} and what goes with it", ("a",)) for letter in "xyz"]
    assert found(*numbered) == []


@pytest.mark.parametrize(
    "name", ["Code_Generation", "code generation", "code-generation ✓", "ｃode_generation"]
)
def test_names_that_differ_in_form_alone(name: str) -> None:
    twin = Policy(name, TALK.description, ("a",))
    assert found(CODE, twin) == [("NAMES_DIFFER_IN_FORM", "policies[1].name")]


def test_names_that_are_almost_the_same() -> None:
    twin = Policy("code_generations", TALK.description, ("a",))
    (finding,) = findings.warnings((CODE, twin), SMALL)
    assert (finding.code, finding.field) == ("NAMES_ALIKE", "policies[1].name")
    assert "policies[0].name, 'code_generation'" in finding.description


def test_a_name_that_can_be_taken_for_other() -> None:
    assert found(Policy("Other", TALK.description)) == [("NAME_LIKE_OTHER", "policies[0].name")]


@pytest.mark.parametrize(
    "description",
    [
        CODE.description,
        CODE.description.upper(),
        CODE.description + "!",
        "Writing functions, classes or scripts in any language",
    ],
)
def test_descriptions_that_are_almost_the_same(description: str) -> None:
    twin = Policy("something_else", description, ("a",))
    assert found(CODE, twin) == [("DESCRIPTIONS_ALIKE", "policies[1].description")]


def test_a_description_that_says_no_more_than_the_name() -> None:
    assert found(Policy("bug_fixing", "Bug fixing.")) == [
        ("DESCRIPTION_REPEATS_NAME", "policies[0].description")
    ]


def test_policies_without_models_among_others() -> None:
    bare = Policy("translation", "From one language to another")
    assert found(CODE, bare) == [("NO_MODELS", "policies[1].models")]
    assert found(bare) == []


def test_vowel_signs_tell_words_apart() -> None:
    assert found(Policy("किताब", "अ" * 9), Policy("कताब", "ब" * 9)) == []


def test_a_set_that_leaves_little_room() -> None:
    size = PolicySetSize(prompt_tokens=600, max_prompt_tokens=1000, branch_tokens=9, max_branch_tokens=9)
    assert found(CODE, size=size) == [("LITTLE_ROOM", "policies")]
    assert "cut to 400" in findings.warnings((CODE,), size)[0].description


def test_a_set_that_is_decided_greedily() -> None:
    size = PolicySetSize(prompt_tokens=9, max_prompt_tokens=1000, branch_tokens=10, max_branch_tokens=9)
    assert found(CODE, size=size) == [("DECIDED_GREEDILY", "policies")]


def test_all_errors_are_found_and_not_only_the_first_eight() -> None:
    wrong = findings.errors("", [Policy(f"name {index}", "") for index in range(20)], "absent")
    assert len(wrong) == 21
    assert {each.severity for each in wrong} == {Severity.ERROR}
    assert wrong[1] == Finding(Severity.ERROR, "INVALID", "policies[0].description", "is empty")


def test_what_the_model_says_is_an_error() -> None:
    error = InvalidRequest(Violation("policies", "take 9000 tokens"))
    assert findings.errors_of_model(error) == [
        Finding(Severity.ERROR, "NOT_SERVABLE", "policies", "take 9000 tokens")
    ]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=60)), max_size=12))
def test_there_are_no_errors_exactly_for_what_is_a_policy_set(pairs: list[tuple[str, str]]) -> None:
    policies = tuple(Policy(name, description) for name, description in pairs)
    wrong = findings.errors("set", policies, None)
    try:
        PolicySet("set", policies)
    except InvalidRequest:
        assert wrong
    else:
        assert not wrong
        for finding in findings.warnings(policies, SMALL):
            assert finding.description
            assert finding.code.isupper()


def test_the_largest_set_is_compared() -> None:
    shared = " ".join(f"{number * number:x}" for number in range(600))
    policies = [Policy(f"n{index:03}", f"{index:03} {shared}", ("a",)) for index in range(MAX_POLICIES)]
    codes = [code for code, _ in found(*policies)]
    assert codes.count("DESCRIPTIONS_ALIKE") == MAX_POLICIES - 1
