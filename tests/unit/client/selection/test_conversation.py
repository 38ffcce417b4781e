from typing import Any

import pytest

from archroute import InvalidRequestError, Message
from archroute.selection.conversation import derived_key, ends_with_user, readable

SYSTEM = Message("system", "You are helpful.")
HELLO = Message("user", "Hello")


def test_what_can_be_read_once_becomes_readable_again() -> None:
    parts = ({"type": "text", "text": text} for text in ("a", "b"))
    read = readable(iter([{"role": "user", "content": parts}, HELLO]))
    assert read == (
        Message("user", ({"type": "text", "text": "a"}, {"type": "text", "text": "b"})),
        HELLO,
    )
    assert readable("Hello") == (HELLO,)


@pytest.mark.parametrize("wrong", [None, 7, {"role": "user", "content": "x"}, HELLO, ["text"]])
def test_other_things_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^messages"):
        readable(wrong)


def test_the_turns_of_a_conversation_share_their_key() -> None:
    first = derived_key((SYSTEM, HELLO))
    assert first == derived_key((SYSTEM, HELLO, Message("assistant", "Hi"), Message("user", "More")))
    others = [
        (HELLO,),
        (SYSTEM, Message("user", "Good morning")),
        (Message("system", "You are rude."), HELLO),
        (),
    ]
    assert len({first, *map(derived_key, others)}) == 5


def test_a_key_tells_no_text() -> None:
    assert "Hello" not in derived_key((SYSTEM, HELLO))
    assert derived_key((Message("user", "\udc80"),)).startswith("derived-")


@pytest.mark.parametrize(
    ("roles", "by_user"), [([], True), (["user"], True), (["user", "tool"], False), (["assistant"], False)]
)
def test_whose_turn_it_is(roles: list[str], by_user: bool) -> None:
    assert ends_with_user(tuple(Message(role, "x") for role in roles)) is by_user
