"""Whether the router is right as often as it says: calibration error and Brier score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archroute_evaluation.metrics.outcome import Outcome

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose probability lies above `low` and up to `high`."""

    low: float
    high: float
    count: int
    confidence: float | None
    """Mean probability of the answers; None if there are none."""
    accuracy: float | None
    """Share of them that are right."""


def reliability_bins(outcomes: Sequence[Outcome], bins: int = BINS) -> list[Bin]:
    """Sort the answers by their probability into `bins` bins of equal width; 0 goes into the first."""
    probabilities = np.array([outcome.probability for outcome in outcomes], np.float64)
    right = np.array([outcome.right for outcome in outcomes], np.float64)
    places = np.clip(np.ceil(probabilities * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    confidences = np.bincount(places, probabilities, bins)
    hits = np.bincount(places, right, bins)
    return [
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            count=int(counts[index]),
            confidence=float(confidences[index] / counts[index]) if counts[index] else None,
            accuracy=float(hits[index] / counts[index]) if counts[index] else None,
        )
        for index in range(bins)
    ]


def expected_calibration_error(outcomes: Sequence[Outcome], bins: int = BINS) -> float | None:
    """Return how far probability and accuracy are apart, from 0 to 1; None of nothing.

        ECE = Σ_bins  count / n · |accuracy - confidence|

    with n answers in bins of equal width by the probability of the answer that was given.
    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.
    """
    if not outcomes:
        return None
    gaps = [
        each.count * abs(each.accuracy - each.confidence)
        for each in reliability_bins(outcomes, bins)
        if each.accuracy is not None and each.confidence is not None
    ]
    return sum(gaps) / len(outcomes)


@dataclass(frozen=True, slots=True)
class BrierScore:
    """A mean over `count` examples; `value` is None over none."""

    value: float | None
    count: int


def brier_score(outcomes: Sequence[Outcome]) -> BrierScore:
    """Return the mean squared error of all probabilities, from 0, which is best, to 2.

        BS = 1/n Σ_examples Σ_answers (probability - 1 if the answer is the expected one, else 0)²

    Examples for which the router gave the probabilities of some answers only are left out.
    Source: Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    scores = [
        sum(
            (probability - (name == outcome.expected)) ** 2
            for name, probability in outcome.probabilities.items()
        )
        for outcome in outcomes
        if outcome.complete
    ]
    return BrierScore(sum(scores) / len(scores) if scores else None, len(scores))
