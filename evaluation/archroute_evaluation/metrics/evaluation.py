"""Evaluation: every figure about the answers to one file of examples."""

from collections.abc import Sequence
from dataclasses import dataclass

from archroute_evaluation.metrics.accuracy import (
    conversation_accuracy,
    span_accuracy,
    turn_accuracy,
    whole_conversations,
)
from archroute_evaluation.metrics.breakdown import Breakdown, breakdowns
from archroute_evaluation.metrics.class_scores import ClassScores, macro_f1, scores_of
from archroute_evaluation.metrics.confusion import Confusion, worst_confusions
from archroute_evaluation.metrics.flips import Flips
from archroute_evaluation.metrics.outcome import Failure, Outcome
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.metrics.reliability import (
    Bin,
    BrierScore,
    brier_score,
    calibration_error_by_chance,
    expected_calibration_error,
    reliability_bins,
)
from archroute_evaluation.metrics.risk_coverage import CurvePoint, area_under, risk_coverage


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How many requests failed in one way, and on which lines."""

    status: str
    reason: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every figure. Where nothing is said, it is over the examples that were answered.

    `span_accuracy` and `conversation_accuracy` are over the conversations without a failed request.
    The flips are None if they were not measured.
    """

    examples: int
    answered: int
    failures: tuple[FailureCount, ...]
    turn_accuracy: Proportion
    span_accuracy: Proportion
    conversation_accuracy: Proportion
    other: ClassScores
    macro_f1: float | None
    calibration_error: float | None
    calibration_error_by_chance: float | None
    reliability: tuple[Bin, ...]
    brier: BrierScore
    risk_coverage: tuple[CurvePoint, ...]
    risk_coverage_area: float | None
    order_flips: Flips | None
    rewording_flips: Flips | None
    breakdowns: tuple[Breakdown, ...]
    confusions: tuple[Confusion, ...]

    @property
    def accuracy_with_failures(self) -> Proportion:
        """Right answers of all examples, where one that failed is wrong: what a router was good for."""
        return Proportion(self.turn_accuracy.hits, self.examples)


def evaluate(
    outcomes: Sequence[Outcome],
    failures: Sequence[Failure] = (),
    *,
    other: str,
    order_flips: Flips | None = None,
    rewording_flips: Flips | None = None,
) -> Evaluation:
    """Compute every figure. `other` is the answer that means that no policy fits."""
    conversations = whole_conversations(outcomes, failures)
    curve = risk_coverage(outcomes)
    return Evaluation(
        examples=len(outcomes) + len(failures),
        answered=len(outcomes),
        failures=tuple(_counted(failures)),
        turn_accuracy=turn_accuracy(outcomes),
        span_accuracy=span_accuracy(conversations),
        conversation_accuracy=conversation_accuracy(conversations),
        other=scores_of(other, outcomes),
        macro_f1=macro_f1(outcomes),
        calibration_error=expected_calibration_error(outcomes),
        calibration_error_by_chance=calibration_error_by_chance(outcomes),
        reliability=tuple(reliability_bins(outcomes)),
        brier=brier_score(outcomes),
        risk_coverage=tuple(curve),
        risk_coverage_area=area_under(curve),
        order_flips=order_flips,
        rewording_flips=rewording_flips,
        breakdowns=tuple(breakdowns(outcomes)),
        confusions=tuple(worst_confusions(outcomes)),
    )


def _counted(failures: Sequence[Failure]) -> list[FailureCount]:
    lines: dict[tuple[str, str], list[int]] = {}
    for failure in failures:
        lines.setdefault((failure.status, failure.reason), []).append(failure.line)
    return [FailureCount(status, reason, tuple(lines[status, reason])) for status, reason in sorted(lines)]
