"""What is asked: cases, each a policy set with conversations, as every peer reads them.

Standard library only: a peer's process needs nothing of archroute.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Message:
    """One message; `role` is `user` or `assistant`."""

    role: str
    text: str


@dataclass(frozen=True)
class Request:
    """One conversation, and the whole prompt that archroute makes of it: chat frame, policies, messages.

    The prompt's text, special tokens written out, has `tokens` tokens. Every peer is given that text.
    """

    messages: tuple[Message, ...]
    prompt: str
    tokens: int


@dataclass(frozen=True)
class Case:
    """Requests on one policy set.

    `answers` has the text of each legal answer by the policy that it names, `other` last. `branches` are the
    places where answers part, `tree_tokens` the tokens that it takes to read them all in one pass. All
    prompts begin with the same `prefix_tokens` tokens, the policies.
    """

    name: str
    policies: Mapping[str, str]
    answers: Mapping[str, str]
    prefix_tokens: int
    tree_tokens: int
    branches: int
    requests: tuple[Request, ...]

    @property
    def prompt_tokens(self) -> int:
        """The median length of a prompt."""
        return sorted(request.tokens for request in self.requests)[len(self.requests) // 2]

    def policy(self, answer: str) -> str:
        """Return the policy that the text of an answer names. Raises `ValueError` if that is none."""
        for policy, text in self.answers.items():
            if text == answer:
                return policy
        raise ValueError(f"{answer!r} is not an answer of {self.name}")


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write a file for `read_cases`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(case) for case in cases], ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def read_cases(path: Path) -> dict[str, Case]:
    """Read the cases of a file by their names."""
    cases = [_case(value) for value in json.loads(path.read_text(encoding="utf-8"))]
    return {case.name: case for case in cases}


def _case(value: dict) -> Case:  # type: ignore[type-arg]
    requests = tuple(
        Request(
            tuple(Message(**message) for message in request["messages"]), request["prompt"], request["tokens"]
        )
        for request in value["requests"]
    )
    return Case(**{**value, "requests": requests})
