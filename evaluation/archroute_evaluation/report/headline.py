"""The figures that a report begins with, as a person reads them."""

from collections.abc import Iterator
from dataclasses import dataclass

from archroute_evaluation.metrics.evaluation import Evaluation
from archroute_evaluation.metrics.flips import Flips
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.report.text import NOT_MEASURED, flip_note, interval, number, of, percent


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what it is called, its value, its 95 % interval if it has one, and what it is over."""

    name: str
    value: str
    interval: str
    over: str


def headline(evaluation: Evaluation) -> list[Figure]:
    """Return the figures in the order in which they are shown."""
    return [
        _share("turn accuracy", evaluation.turn_accuracy),
        _share("span accuracy", evaluation.span_accuracy),
        _share("conversation accuracy", evaluation.conversation_accuracy),
        _share("precision of other", evaluation.other.precision),
        _share("recall of other", evaluation.other.recall),
        Figure("macro-F1", number(evaluation.macro_f1), "", f"{evaluation.answered} answers"),
        Figure(
            "expected calibration error",
            number(evaluation.calibration_error),
            "",
            f"{evaluation.answered} answers in {len(evaluation.reliability)} bins",
        ),
        Figure(
            "error of a calibrated router",
            number(evaluation.calibration_error_by_chance),
            "",
            "by chance",
        ),
        Figure("Brier score", number(evaluation.brier.value), "", f"{evaluation.brier.count} whole rankings"),
        Figure(
            "area under risk and coverage",
            number(evaluation.risk_coverage_area),
            "",
            f"{evaluation.answered} answers",
        ),
        *_flips("order flips", evaluation.order_flips),
        *_flips("rewording flips", evaluation.rewording_flips),
    ]


def _share(name: str, proportion: Proportion) -> Figure:
    return Figure(name, percent(proportion.share), interval(proportion), of(proportion))


def _flips(name: str, flips: Flips | None) -> Iterator[Figure]:
    if flips is None:
        yield Figure(name, NOT_MEASURED, "", "")
    else:
        yield Figure(name, percent(flips.examples.share), interval(flips.examples), flip_note(flips))
