"""From the probabilities at each branch to a decision.

A model can be surer than it is right. One temperature T, fitted on examples by `archroute calibrate`,
corrects that: the logits at each branch are divided by T before they become probabilities (Guo et al. 2017,
https://arxiv.org/abs/1706.04599). Log probabilities do as well as logits, since the softmax does not see the
constant between them.

The temperature works at each branch, and not on the probabilities of whole answers, because

- dividing by T keeps the order of the edges of a branch, so the greedy choice stays what it was. On whole
  answers it would move probability between branches, and the likeliest edge of a branch could become another;
- a ranking of which only a part is known can still be calibrated, and the probabilities still multiply along
  each path and sum to 1.

The ranking's order may change with T, as it multiplies several branches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from archroute_server.router.policy import OTHER, PolicySet
from archroute_server.router.trie import AnswerTrie

Rows = Sequence[Sequence[float] | None]
"""For each branch of a trie, the natural logarithm of the probability of each of its edges, normalised over
the edges of that branch; None for a branch that the model was not run at."""


class Outcome(Enum):
    """How a decision ended. `MATCHED` names a policy, and `FALLBACK` does if the set declares one for it."""

    MATCHED = "matched"
    OTHER = "other"
    LOW_CONFIDENCE = "low_confidence"
    FALLBACK = "fallback"
    """The model did not decide in time."""


@dataclass(frozen=True)
class Ranked:
    """One answer, which may be `other`, and its probability among all answers."""

    policy: str
    probability: float


@dataclass(frozen=True)
class Decision:
    """What the router answers.

    `policy` and `models` are those of the matched policy, or for `FALLBACK` of the set's default policy: None
    and empty for any other outcome. `probability` belongs to the greedy choice, whatever the outcome; it is 0
    for a fallback, which has no choice and no ranking. `ranking` holds every answer whose probability is
    known, most probable first: all of them, unless the model was not run at every branch. The greedy choice
    follows the likeliest token at each branch and need not lead the ranking.
    """

    policy: str | None
    outcome: Outcome
    probability: float
    ranking: tuple[Ranked, ...]
    models: tuple[str, ...]


def decide(
    trie: AnswerTrie,
    branch_log_probabilities: Rows,
    policies: PolicySet,
    min_probability: float = 0.0,
    temperature: float = 1.0,
) -> Decision:
    """Decide among the answers of `trie`, with probabilities at `temperature`.

    Every branch on the way to the greedy answer needs its row. Raises `ValueError` if one is missing, has the
    wrong length, or holds a NaN.
    """
    _check(trie, branch_log_probabilities)
    totals = answer_log_probabilities(trie, at_temperature(branch_log_probabilities, temperature))
    # Before the temperature: rounding could make equals of what it only brings closer.
    chosen = greedy_answer(trie, branch_log_probabilities)
    probability = math.exp(totals[chosen])
    known = sorted(totals, key=lambda answer: (-totals[answer], answer))
    outcome = _outcome(trie.answers[chosen], probability, min_probability)
    matched = policies.policies[chosen] if outcome is Outcome.MATCHED else None
    return Decision(
        policy=matched.name if matched else None,
        outcome=outcome,
        probability=probability,
        ranking=tuple(Ranked(trie.answers[answer], math.exp(totals[answer])) for answer in known),
        models=matched.models if matched else (),
    )


def fallback(policies: PolicySet) -> Decision:
    """Return what is answered without the model: the set's default policy, or none."""
    default = next((policy for policy in policies.policies if policy.name == policies.default_policy), None)
    return Decision(
        policy=default.name if default else None,
        outcome=Outcome.FALLBACK,
        probability=0.0,
        ranking=(),
        models=default.models if default else (),
    )


def at_temperature(branch_log_probabilities: Rows, temperature: float) -> Rows:
    """Return the rows that follow from logits divided by `temperature`, which is above 0."""
    if temperature == 1.0:
        return branch_log_probabilities
    return [row if row is None else _softened(row, temperature) for row in branch_log_probabilities]


def likeliest(row: Sequence[float]) -> int:
    """Return the place of the greatest in a branch's row, the first of equals."""
    return max(range(len(row)), key=row.__getitem__)


def greedy_answer(trie: AnswerTrie, branch_log_probabilities: Rows) -> int:
    """Follow the likeliest edge from the root, on a tie the one with the lowest token id.

    Raises `ValueError` if a branch on the way has no row.
    """
    index = 0
    while True:
        row = branch_log_probabilities[index]
        if row is None:
            raise ValueError(f"branch {index} is on the way to the greedy answer, but has no row")
        edge = trie.branches[index].edges[likeliest(row)]
        if edge.answer is not None:
            return edge.answer
        assert edge.branch is not None
        index = edge.branch


def answer_log_probabilities(trie: AnswerTrie, branch_log_probabilities: Rows) -> dict[int, float]:
    """Return the logarithm of each answer's probability: the sum along its path.

    Answers behind a branch without a row are left out.
    """
    arrived: list[float | None] = [None] * len(trie.branches)
    arrived[0] = 0.0
    totals: dict[int, float] = {}
    for index, branch in enumerate(trie.branches):
        row, so_far = branch_log_probabilities[index], arrived[index]
        if row is None or so_far is None:
            continue
        for edge, log_probability in zip(branch.edges, row, strict=True):
            total = so_far + log_probability
            if edge.answer is not None:
                totals[edge.answer] = total
            elif edge.branch is not None:
                arrived[edge.branch] = total
    return totals


def _softened(row: Sequence[float], temperature: float) -> list[float]:
    """Return log softmax(row / temperature)."""
    largest = max(row)
    # Less the largest first, so that a low temperature makes no infinity of it.
    values = [(value - largest) / temperature for value in row]
    total = math.log(math.fsum(map(math.exp, values)))
    return [value - total for value in values]


def _outcome(answer: str, probability: float, min_probability: float) -> Outcome:
    if probability < min_probability:
        return Outcome.LOW_CONFIDENCE
    return Outcome.OTHER if answer == OTHER else Outcome.MATCHED


def _check(trie: AnswerTrie, branch_log_probabilities: Rows) -> None:
    if len(branch_log_probabilities) != len(trie.branches):
        raise ValueError(
            f"{len(trie.branches)} branches need as many rows, not {len(branch_log_probabilities)}"
        )
    for index, (branch, row) in enumerate(zip(trie.branches, branch_log_probabilities, strict=True)):
        if row is None:
            continue
        if len(row) != len(branch.edges):
            raise ValueError(
                f"branch {index} has {len(branch.edges)} edges, but its row has {len(row)} values"
            )
        if any(map(math.isnan, row)):
            raise ValueError(f"branch {index}: the model's log probabilities hold a NaN")
