"""What is gained by leaving the least sure answers to a default."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archroute_evaluation.metrics.outcome import Outcome


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What taking only answers of at least `min_probability` means.

    `coverage` is the share of examples that keep their answer, `risk` the share of those that is wrong.
    """

    min_probability: float
    coverage: float
    risk: float


def risk_coverage(outcomes: Sequence[Outcome]) -> list[CurvePoint]:
    """Return a point for every probability that some answer has, the highest and least coverage first.

    Source: El-Yaniv and Wiener 2010, https://www.jmlr.org/papers/v11/el-yaniv10a.html
    """
    if not outcomes:
        return []
    probabilities = np.array([outcome.probability for outcome in outcomes], np.float64)
    order = np.argsort(-probabilities, kind="stable")
    probabilities = probabilities[order]
    wrong = np.cumsum([not outcomes[index].right for index in order])
    # Equal probabilities are taken together or not at all.
    last = np.flatnonzero(np.append(probabilities[1:] != probabilities[:-1], True))
    taken = last + 1
    return [
        CurvePoint(float(probability), float(count / len(outcomes)), float(errors / count))
        for probability, count, errors in zip(probabilities[last], taken, wrong[last], strict=True)
    ]


def area_under(curve: Sequence[CurvePoint]) -> float | None:
    """Return the mean risk over all coverages, from 0, which is best, to 1; None of no curve.

        AURC = 1/n Σ_k risk of the k surest answers

    where each of several equally sure answers counts with the risk of all of them.
    Source: Geifman et al. 2019, https://arxiv.org/abs/1805.08206, section 3.
    """
    if not curve:
        return None
    before = [0.0, *(point.coverage for point in curve[:-1])]
    return sum((point.coverage - start) * point.risk for point, start in zip(curve, before, strict=True))
