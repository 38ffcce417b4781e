import pytest

from archroute_server.router.errors import PolicySetNotFound
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_sets import PolicySets

A, B = (PolicySet(name, (Policy("code", "Code"),)) for name in ("a", "b"))


def test_sets_are_found_by_name_and_the_default_by_the_empty_name() -> None:
    sets = PolicySets([B, A], default_name="a")
    assert sets.get("b") is B
    assert sets.get("") is A
    assert sets.names() == ("a", "b")
    assert sets.default_name == "a"


def test_a_single_set_is_the_default() -> None:
    assert PolicySets([A]).get("") is A


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PolicySetNotFound, match="no policy set 'c': this server holds 'a', 'b'") as caught:
        PolicySets([A, B], "a").get("c")
    assert caught.value.name == "c"
    assert caught.value.known == ("a", "b")


def test_without_sets_there_is_no_default() -> None:
    sets = PolicySets()
    assert sets.names() == ()
    assert sets.default_name == ""
    with pytest.raises(
        PolicySetNotFound, match=r"no default policy set: .* send the policies with the request"
    ):
        sets.get("")


@pytest.mark.parametrize(
    ("sets", "default", "reason"),
    [
        ([A, A], "a", "two policy sets are called 'a'"),
        ([A, B], "", "one must be named as the default"),
        ([A], "b", "the default policy set 'b' is not among the sets"),
        ([], "a", "the default policy set 'a' is not among the sets"),
        ([PolicySet("", A.policies)], "", "a policy set needs a name"),
    ],
)
def test_contradictions_are_refused(sets: list[PolicySet], default: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PolicySets(sets, default)


def test_stored_sets_stand_beside_the_others_and_are_never_the_default() -> None:
    own, stored = (PolicySet(name, A.policies) for name in ("own", "stored"))
    sets = PolicySets([own]).with_stored([stored])
    assert sets.get("") is own
    assert sets.get("stored") is stored
    assert [sets.is_stored(name) for name in sets.names()] == [False, True]
    assert "stored" in sets
    assert "absent" not in sets
    alone = PolicySets().with_stored([stored])
    assert alone.default_name == ""
    with pytest.raises(PolicySetNotFound, match="no default policy set"):
        alone.get("")


def test_a_stored_set_takes_no_name_of_another() -> None:
    with pytest.raises(ValueError, match="two policy sets are called 'a'"):
        PolicySets([A]).with_stored([A])
