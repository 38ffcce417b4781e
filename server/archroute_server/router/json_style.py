"""How a prompt variant writes policies, conversation and answer as JSON."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archroute_server.router.message import Message
from archroute_server.router.policy import Policy

# Exactly the frame's own tags: another spelling, such as </Routes>, is not one of them and stays as it is.
_FRAME_TAG = re.compile(r"<(/?(?:routes|conversation))>")


@dataclass(frozen=True)
class JsonStyle:
    """Separators and escapes of one prompt variant. The fields are `json.dumps`'s own settings."""

    item_separator: str
    key_separator: str
    ascii_only: bool

    def routes(self, policies: Iterable[Policy]) -> str:
        """Write one array of `{"name", "description"}`, in declaration order."""
        return self._write([{"name": policy.name, "description": policy.description} for policy in policies])

    def conversation(self, messages: Iterable[Message]) -> str:
        """Write one array of `{"role", "content"}`, oldest first."""
        return self._write([{"role": message.role.value, "content": message.text} for message in messages])

    def answer(self, name: str) -> str:
        """Write the model's answer. Every variant shows it as `{"route": "other"}`, with a space."""
        return f'{{"route": {self._write(name)}}}'

    def _write(self, value: str | list[Mapping[str, str]]) -> str:
        """Write JSON in which no value forms a tag of the frame.

        JSON's own syntax has no angle brackets, so a tag can only lie inside a value, and escaping its
        brackets changes the spelling of the value but not what it decodes to.
        """
        text = json.dumps(
            value, ensure_ascii=self.ascii_only, separators=(self.item_separator, self.key_separator)
        )
        return _FRAME_TAG.sub(r"\\u003c\1\\u003e", text)
