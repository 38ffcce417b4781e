import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_evaluation.asking.answer import Question
from archroute_evaluation.asking.variants import reworded, shuffled
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet


def question(count: int) -> Question:
    policies = tuple(Policy(f"policy_{index}", f"What {index} covers") for index in range(count))
    return Question(PolicySet("", policies), (Message(Role.USER, "hello"),))


@given(st.integers(2, 12), st.integers(0, 5), st.text(max_size=4))
def test_orders_differ_from_the_first_and_follow_from_the_seed(count: int, times: int, seed: str) -> None:
    first = question(count)
    found = list(shuffled(first, times, seed))
    assert len(found) == times
    for each in found:
        assert each.policies != first.policies
        assert set(each.policies.policies) == set(first.policies.policies)
        assert each.messages == first.messages
    assert list(shuffled(first, times, seed)) == found


def test_seeds_give_different_orders() -> None:
    assert list(shuffled(question(12), 3, "0:1")) != list(shuffled(question(12), 3, "0:2"))


def test_one_policy_has_one_order() -> None:
    assert list(shuffled(question(1), 3, "0")) == []


def descriptions(asked: Question) -> list[str]:
    return [policy.description for policy in asked.policies.policies]


def test_each_time_the_next_wording() -> None:
    wordings = {"policy_0": ("a", "b"), "policy_2": ("c",)}
    found = [descriptions(each) for each in reworded(question(3), wordings, 5)]
    assert found == [["a", "What 1 covers", "c"], ["b", "What 1 covers", "What 2 covers"]]
    assert len(list(reworded(question(3), wordings, 1))) == 1


@pytest.mark.parametrize("wordings", [{}, {"policy_0": ()}])
def test_without_wordings_nothing_is_asked(wordings: dict[str, tuple[str, ...]]) -> None:
    assert list(reworded(question(3), wordings, 5)) == []
