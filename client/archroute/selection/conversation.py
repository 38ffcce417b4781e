"""A conversation that can be read more than once, and the key by which its session is told from others."""

import hashlib
from collections.abc import Iterable, Mapping

from archroute.fields import invalid, kind_of
from archroute.message import Conversation, Message

__all__ = ["derived_key", "ends_with_user", "readable"]


def readable(conversation: Conversation) -> tuple[Message, ...]:
    """The messages, with parts that can be read again, though what was given could be read only once.

    Raises:
        InvalidRequestError: It is no list of messages. What is wrong inside of a message is found later.
    """
    if isinstance(conversation, str):
        return (Message("user", conversation),)
    if isinstance(conversation, Message | Mapping) or not isinstance(conversation, Iterable):
        raise invalid("messages", f"must be a list of messages or a string, not {kind_of(conversation)}")
    return tuple(_readable(value, f"messages[{index}]") for index, value in enumerate(conversation))


def _readable(value: object, field: str) -> Message:
    if isinstance(value, Mapping):
        value = Message(value.get("role"), value.get("content"))  # type: ignore[arg-type]
    if not isinstance(value, Message):
        raise invalid(field, f'must be {{"role": ..., "content": ...}} or a Message, not {kind_of(value)}')
    content: object = value.content
    if isinstance(content, Iterable) and not isinstance(content, str | bytes | Mapping):
        return Message(value.role, tuple(content))
    return value


def ends_with_user(messages: tuple[Message, ...]) -> bool:
    """Whether the last word is the user's, and not a tool's or the assistant's."""
    return not messages or messages[-1].role == "user"


def derived_key(messages: tuple[Message, ...]) -> str:
    """What the turns of one conversation have in common: its system prompt and its first user message.

    A hash, so that no text of a conversation is kept. Two conversations that begin alike share it.
    """
    system = next((each for each in messages if each.role in ("system", "developer")), None)
    user = next((each for each in messages if each.role == "user"), None)
    digest = hashlib.sha256()
    for message in (system, user):
        text = b"" if message is None else repr((message.role, message.content)).encode(errors="replace")
        digest.update(len(text).to_bytes(8, "big") + text)
    return f"derived-{digest.hexdigest()[:32]}"
