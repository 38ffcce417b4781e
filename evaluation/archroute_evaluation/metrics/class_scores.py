"""Precision, recall and F1 of each answer."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archroute_evaluation.metrics.outcome import Outcome
from archroute_evaluation.metrics.proportion import Proportion


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How one answer fares against all others.

    `precision` is of the times that it was given, `recall` of the times that it was expected.
    """

    name: str
    precision: Proportion
    recall: Proportion

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2 right / (given + expected)."""
        return 2 * self.recall.hits / (self.precision.total + self.recall.total)


def class_scores(outcomes: Sequence[Outcome]) -> list[ClassScores]:
    """Return the scores of every answer that was given or expected, in the order of their names.

    Policies of one name are one answer, whatever sets they come from.
    """
    given = Counter(outcome.answer for outcome in outcomes)
    expected = Counter(outcome.expected for outcome in outcomes)
    right = Counter(outcome.answer for outcome in outcomes if outcome.right)
    return [
        ClassScores(name, Proportion(right[name], given[name]), Proportion(right[name], expected[name]))
        for name in sorted(given.keys() | expected.keys())
    ]


def scores_of(name: str, outcomes: Iterable[Outcome]) -> ClassScores:
    """Return the scores of one answer, which may never have been given or expected."""
    among = list(outcomes)
    return ClassScores(
        name,
        Proportion.of(outcome.right for outcome in among if outcome.answer == name),
        Proportion.of(outcome.right for outcome in among if outcome.expected == name),
    )


def macro_f1(outcomes: Sequence[Outcome]) -> float | None:
    """Return the mean F1 of all answers that were given or expected, each of equal weight; None of nothing.

    Source: Sokolova and Lapalme 2009, https://doi.org/10.1016/j.ipm.2009.03.002; the mean of the F1 scores,
    not the F1 of the means.
    """
    scores = [score.f1 for score in class_scores(outcomes)]
    return sum(scores) / len(scores) if scores else None
