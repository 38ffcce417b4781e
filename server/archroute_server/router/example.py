"""A routing example: a conversation, the policies it could be routed to, and the right answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from archroute_server.router.errors import shorten
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, Policy


@dataclass(frozen=True)
class Example:
    """One decision whose right answer is known, to learn from or to measure with.

    `expected` is the name of one of `policies`, or `other` if none of them fits. `language` is an ISO 639
    code, or empty if unknown. `tags` say anything else by which results may be grouped, such as
    `{"source": "gateway", "turns": "3"}`. `rewordings` are other descriptions of policies, by name, that mean
    the same.

    Raises `ValueError` if nobody could give the expected answer, or if there is nothing to decide on. Whether
    the policies are valid is for `PolicySet` to say.
    """

    policies: tuple[Policy, ...]
    messages: tuple[Message, ...]
    expected: str
    language: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    rewordings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.expected != OTHER and all(policy.name != self.expected for policy in self.policies):
            raise ValueError(
                f"the expected policy {shorten(self.expected)!r} is not among its {len(self.policies)} "
                f"policies; name one of them, or {OTHER!r} if none fits"
            )
        for name in self.rewordings:
            if all(policy.name != name for policy in self.policies):
                raise ValueError(f"the reworded policy {shorten(name)!r} is not among its policies")
        if not any(message.role is Role.USER and message.text.strip() for message in self.messages):
            raise ValueError("there is no user message with text")
