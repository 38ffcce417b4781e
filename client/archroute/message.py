"""Messages of a conversation, and how they go over the wire."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archroute.fields import checked_text, invalid, kind_of
from archroute.v1 import router_pb2

__all__ = ["Content", "Conversation", "Message", "to_messages"]

Content = str | Iterable[Mapping[str, object]] | None
"""A message's text, its parts as OpenAI writes them, or None for a message that has none."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. A dict `{"role": ..., "content": ...}` as OpenAI writes it does as well."""

    role: str
    """`system`, `developer`, `user`, `assistant`, `tool`, or `function`, the older name of `tool`."""

    content: Content
    """Parts other than text, such as images, are sent as parts that the router does not read."""


Conversation = str | Iterable[Message | Mapping[str, object]]
"""Messages, oldest first, or the text of a single user message."""

ROLES: Mapping[str, router_pb2.Role] = MappingProxyType(
    {
        "system": router_pb2.ROLE_SYSTEM,
        "developer": router_pb2.ROLE_DEVELOPER,
        "user": router_pb2.ROLE_USER,
        "assistant": router_pb2.ROLE_ASSISTANT,
        "tool": router_pb2.ROLE_TOOL,
        "function": router_pb2.ROLE_TOOL,
    }
)

# Of the chat completions API, and of the responses API.
TEXT_PARTS = frozenset({"text", "input_text", "output_text"})

# Enough to recognise a misspelt role, and too little to put a conversation into an error.
_SHOWN_ROLE = 24


def to_messages(conversation: Conversation) -> list[router_pb2.Message]:
    """Converts a conversation.

    Raises:
        InvalidRequestError: Naming the message, for example `messages[2].role`.
    """
    if isinstance(conversation, str):
        return [_to_message(Message("user", conversation), "messages[0]")]
    if isinstance(conversation, Message | Mapping) or not isinstance(conversation, Iterable):
        raise invalid("messages", f"must be a list of messages or a string, not {kind_of(conversation)}")
    return [_to_message(value, f"messages[{index}]") for index, value in enumerate(conversation)]


def _to_message(value: object, field: str) -> router_pb2.Message:
    role: object
    content: object
    if isinstance(value, Message):
        role, content = value.role, value.content
    elif isinstance(value, Mapping):
        role, content = value.get("role"), value.get("content")
    else:
        raise invalid(field, f'must be {{"role": ..., "content": ...}} or a Message, not {kind_of(value)}')
    return router_pb2.Message(
        role=_to_role(role, f"{field}.role"), parts=_to_parts(content, f"{field}.content")
    )


def _to_role(role: object, field: str) -> router_pb2.Role:
    if not isinstance(role, str):
        raise invalid(field, f"must be one of {', '.join(ROLES)}, not {kind_of(role)}")
    if role not in ROLES:
        shown = role if len(role) <= _SHOWN_ROLE else f"{role[:_SHOWN_ROLE]}…"
        raise invalid(field, f"unknown role {shown!r}; use one of {', '.join(ROLES)}")
    return ROLES[role]


def _to_parts(content: object, field: str) -> list[router_pb2.Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [router_pb2.Part(text=checked_text(content, field))]
    if isinstance(content, Mapping | bytes) or not isinstance(content, Iterable):
        raise invalid(field, f"must be a string, a list of parts or null, not {kind_of(content)}")
    return [_to_part(value, f"{field}[{index}]") for index, value in enumerate(content)]


def _to_part(value: object, field: str) -> router_pb2.Part:
    if not isinstance(value, Mapping):
        raise invalid(field, f'must be a part such as {{"type": "text", "text": ...}}, not {kind_of(value)}')
    kind = value.get("type")
    if not isinstance(kind, str):
        raise invalid(f"{field}.type", f'must be a string such as "text", not {kind_of(kind)}')
    if kind not in TEXT_PARTS:
        return router_pb2.Part()
    return router_pb2.Part(text=checked_text(value.get("text"), f"{field}.text"))
