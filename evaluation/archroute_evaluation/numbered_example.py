"""Examples with the lines that they stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archroute_evaluation.asking.answer import Question
from archroute_evaluation.errors import EvaluationError
from archroute_evaluation.metrics.outcome import CONVERSATION_TAG, Failure, Outcome
from archroute_server.router.example import Example
from archroute_server.router.example_file import ExampleFileError, numbered_examples
from archroute_server.router.message import Role
from archroute_server.router.policy import PolicySet


@dataclass(frozen=True, slots=True)
class NumberedExample:
    """An example and its line, counted from 1, by which reports speak of it."""

    line: int
    example: Example

    @property
    def question(self) -> Question:
        """The request that it is."""
        return Question(PolicySet("", self.example.policies), self.example.messages)

    def outcome(self, answer: str, probability: float, probabilities: Mapping[str, float]) -> Outcome:
        """Return what came of it if `answer` was given."""
        example = self.example
        return Outcome(
            line=self.line,
            expected=example.expected,
            answer=answer,
            probability=probability,
            probabilities=probabilities,
            policies=len(example.policies),
            turns=sum(message.role is Role.USER for message in example.messages),
            language=example.language,
            tags=example.tags,
        )

    def failure(self, status: str, reason: str) -> Failure:
        """Return what came of it if it was not answered."""
        return Failure(self.line, status, reason, self.example.tags.get(CONVERSATION_TAG))


def read_numbered(path: Path) -> list[NumberedExample]:
    """Read a whole file. Raises `EvaluationError` with the line of what is wrong."""
    try:
        return [NumberedExample(line, example) for line, example in numbered_examples(path)]
    except ExampleFileError as error:
        raise EvaluationError(str(error)) from error
