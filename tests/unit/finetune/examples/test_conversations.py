import random

from archroute_export.finetune.examples.conversations import with_earlier_requests, with_system_message
from archroute_server.router.message import Message, Role

ASKED = (Message(Role.USER, "and in French?"),)


def test_earlier_requests_are_answered_before_the_switch() -> None:
    earlier = [(Message(Role.USER, "a poem"),), (Message(Role.USER, "a recipe"),)]
    messages = with_earlier_requests(random.Random(0), earlier, ASKED)
    assert [message.role for message in messages] == [
        Role.USER,
        Role.ASSISTANT,
        Role.USER,
        Role.ASSISTANT,
        Role.USER,
    ]
    assert [message.text for message in messages[::2]] == ["a poem", "a recipe", "and in French?"]
    assert all(message.text for message in messages)


def test_without_earlier_requests_nothing_changes() -> None:
    assert with_earlier_requests(random.Random(0), [], ASKED) == ASKED


def test_there_is_one_system_message_at_most() -> None:
    rng = random.Random(0)
    once = with_system_message(rng, ASKED)
    assert [message.role for message in once] == [Role.SYSTEM, Role.USER]
    assert with_system_message(rng, once) == once
