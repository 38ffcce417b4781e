"""Outcome: one example, and what the router answered to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CONVERSATION_TAG = "conversation"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What every metric is computed from. It holds no text of the conversation.

    `expected` and `answer` are names of policies, or `other`. `probability` is that of `answer`;
    `probabilities` has every answer whose probability is known. `turns` counts messages of the user.
    """

    line: int
    expected: str
    answer: str
    probability: float
    probabilities: Mapping[str, float]
    policies: int
    turns: int
    language: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether the answer is the expected one."""
        return self.answer == self.expected

    @property
    def complete(self) -> bool:
        """Whether every policy's probability is known, and that of `other`."""
        return len(self.probabilities) == self.policies + 1

    @property
    def conversation(self) -> str | None:
        """What the conversation that this is a turn of is called; None for one that stands by itself."""
        return self.tags.get(CONVERSATION_TAG)


@dataclass(frozen=True, slots=True)
class Failure:
    """One example that was not answered, and the gRPC status and the reason that were given."""

    line: int
    status: str
    reason: str
    conversation: str | None = None
