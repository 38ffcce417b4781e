"""The minimum probability that gives a wanted precision."""

from collections.abc import Sequence
from dataclasses import dataclass

from archroute_evaluation.metrics.outcome import Outcome
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.metrics.risk_coverage import risk_coverage

# Of fewer answers, being right says little: the 95 % interval of 30 of 30 begins at 89 %.
MIN_ANSWERS = 30


@dataclass(frozen=True, slots=True)
class Minimum:
    """A minimum, the answers that reach it of all, and those of them that are right."""

    probability: float
    coverage: Proportion
    precision: Proportion


def propose_minimum(
    outcomes: Sequence[Outcome], precision: float, min_answers: int = MIN_ANSWERS
) -> Minimum | None:
    """Return the least minimum at which at least `precision` of the answers that reach it are right.

    It lies halfway to the next lower probability that occurred, so that it does not depend on the last digit
    of one answer; it is 0 if all answers together are precise enough. None if there is no such minimum that
    at least `min_answers` answers reach.
    """
    curve = risk_coverage(outcomes)
    for index in reversed(range(len(curve))):
        point = curve[index]
        lower = curve[index + 1].min_probability if index + 1 < len(curve) else None
        # A product of probabilities can lie above 1 in its last digit; a minimum cannot.
        minimum = 0.0 if lower is None else min((point.min_probability + lower) / 2, 1.0)
        answers = round(point.coverage * len(outcomes))
        right = Proportion(answers - round(point.risk * answers), answers)
        if right.total < min_answers:
            return None
        if right.hits >= precision * right.total:
            return Minimum(minimum, Proportion(right.total, len(outcomes)), right)
    return None
