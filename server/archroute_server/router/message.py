"""One message of a conversation."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Who wrote a message. The values are the spellings that the prompt uses."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True)
class Message:
    """A message as the caller sent it; the text parts of a multi-part message are joined with a newline."""

    role: Role
    text: str
