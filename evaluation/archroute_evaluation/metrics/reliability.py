"""Whether the router is right as often as it says: calibration error and Brier score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archroute_evaluation.metrics.outcome import Outcome

BINS = 15
_DRAWS = 400


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
    places = _places(probabilities, bins)
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


def calibration_error_by_chance(outcomes: Sequence[Outcome], bins: int = BINS) -> float | None:
    """Return the calibration error that a calibrated router would show on average; None of nothing.

    A router that is right exactly as often as it says still shows an error over few answers, because a bin
    of some thirty is never right in just the share that is expected of it. So this is what the error can be
    compared with: each answer is drawn anew to be right with the probability that the router gave it, and
    the errors of these draws are averaged. The same answers give the same figure.
    Source: consistency resampling, Bröcker and Smith 2007, https://doi.org/10.1175/WAF993.1
    """
    if not outcomes:
        return None
    probabilities = np.array([outcome.probability for outcome in outcomes], np.float64)
    places = _places(probabilities, bins)
    expected = np.bincount(places, probabilities, bins)
    generator = np.random.default_rng(0)
    errors = [
        np.abs(np.bincount(places, generator.random(len(places)) < probabilities, bins) - expected).sum()
        for _ in range(_DRAWS)
    ]
    return float(np.mean(errors)) / len(outcomes)


def _places(probabilities: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    return np.clip(np.ceil(probabilities * bins).astype(np.int64) - 1, 0, bins - 1)


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
