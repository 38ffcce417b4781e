"""Choices: at each branch on the way to the right answer, what the model gave each edge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archroute_server.router.decision import Rows
from archroute_server.router.trie import AnswerTrie


@dataclass(frozen=True, slots=True)
class Choice:
    """One branch: the log probabilities of its edges, and the place of the edge that is right."""

    log_probabilities: Sequence[float]
    right: int


def right_choices(trie: AnswerTrie, rows: Rows, expected: str) -> list[Choice]:
    """Return the choices on the way to `expected`, the root's first.

    Branches that the model was not run at are left out: what is known of the way there still tells how sure
    the model is. Raises `ValueError` if `expected` is no answer of the trie.
    """
    answer = trie.answers.index(expected)
    path: list[Choice] = []
    child: int | None = None
    # Branches stand behind their parents, so this meets those of the way from the last to the root.
    for index in reversed(range(len(trie.branches))):
        for place, edge in enumerate(trie.branches[index].edges):
            if edge.answer == answer or (child is not None and edge.branch == child):
                row = rows[index]
                if row is not None:
                    path.append(Choice(row, place))
                child = index
                break
    return path[::-1]


class ChoiceTable:
    """The choices of many examples, laid out for computing their loss at any temperature."""

    def __init__(self, examples: Sequence[Sequence[Choice]]) -> None:
        """Take examples of at least one choice in all."""
        choices = [choice for example in examples for choice in example]
        lengths = np.array([len(choice.log_probabilities) for choice in choices], np.int64)
        self.examples = len(examples)
        self._starts: npt.NDArray[np.int64] = np.cumsum(lengths) - lengths
        self._lengths = lengths
        self._values = np.concatenate([np.asarray(choice.log_probabilities) for choice in choices])
        self._right = self._starts + np.array([choice.right for choice in choices], np.int64)

    def loss(self, temperature: float) -> float:
        """Return the mean negative log-likelihood of the right answers, in nats for each example.

            loss(T) = -1/n Σ_examples Σ_branches log softmax(z / T)[right edge]

        where z are the log probabilities at T = 1, which stand for the logits: see `router.decision`.
        """
        scaled = self._values / temperature
        largest = np.maximum.reduceat(scaled, self._starts)
        shifted = np.exp(scaled - np.repeat(largest, self._lengths))
        totals = largest + np.log(np.add.reduceat(shifted, self._starts))
        return float((totals - scaled[self._right]).sum() / self.examples)
