"""How a prompt variant writes policies and conversation as lines of plain text."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from archroute_server.router.message import Message
from archroute_server.router.policy import Policy


@dataclass(frozen=True)
class LineStyle:
    """One line for each policy and for each message; `indent` stands before what continues a line.

        - code_review: Judging the quality of code
        - translation: From one language into another

        user: is this any good?
          def f(): pass
        assistant: It does nothing.

    Only lines of the frame begin at the left edge: a text with line breaks goes on indented, so that no
    description is read as another policy and no message as another speaker.

    With `quoted_names`, the line of a policy ends with its name once more, as the answer spells it:

        - code_review: Judging the quality of code "code_review"

    A model that reads from left to right knows nothing of a description while it reads the name before it.
    It knows all of it at the name after it, so the first token of the right name can be found and copied.

    With `sorted_by_name`, the lines stand in the order of the names' code points, and not in that of the
    policy set: then no decision can depend on the order in which somebody listed the policies.
    """

    indent: str
    quoted_names: bool = False
    sorted_by_name: bool = False

    def routes(self, policies: Iterable[Policy]) -> str:
        """Write `- name: description` lines, in declaration order unless sorted."""
        if self.sorted_by_name:
            policies = sorted(policies, key=lambda policy: policy.name)
        return "\n".join(self._route(policy) for policy in policies)

    def conversation(self, messages: Iterable[Message]) -> str:
        """Write `role: text` lines, oldest first."""
        return "\n".join(f"{message.role.value}: {self._continued(message.text)}" for message in messages)

    def answer(self, name: str) -> str:
        """Write the model's answer as every variant does: `{"route": "other"}`."""
        return f'{{"route": {_quoted(name)}}}'

    def _route(self, policy: Policy) -> str:
        line = f"- {self._continued(policy.name)}: {self._continued(policy.description)}"
        return f"{line} {self._continued(_quoted(policy.name))}" if self.quoted_names else line

    def _continued(self, text: str) -> str:
        """Indent all lines but the first; a line ends wherever Unicode says so. The last break is dropped."""
        return f"\n{self.indent}".join(text.splitlines())


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
