import pytest

from archroute_server.router.example import Example
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, Policy

POLICIES = (Policy("poetry", "Poems"), Policy("recipes", "What to cook"))
ASKED = (Message(Role.USER, "four lines about rain"),)


@pytest.mark.parametrize("expected", ["poetry", "recipes", OTHER])
def test_the_right_answer_is_a_policy_or_other(expected: str) -> None:
    assert Example(POLICIES, ASKED, expected).expected == expected


def test_an_answer_that_cannot_be_given_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'tax' is not among its 2 policies"):
        Example(POLICIES, ASKED, "tax")


@pytest.mark.parametrize("messages", [(), (Message(Role.ASSISTANT, "Yes?"),), (Message(Role.USER, " \n"),)])
def test_a_conversation_without_a_user_is_refused(messages: tuple[Message, ...]) -> None:
    with pytest.raises(ValueError, match="no user message with text"):
        Example(POLICIES, messages, "poetry")


def test_only_policies_that_are_there_are_reworded() -> None:
    with pytest.raises(ValueError, match="'tax' is not among its policies"):
        Example(POLICIES, ASKED, "poetry", rewordings={"tax": ("Taxes",)})
