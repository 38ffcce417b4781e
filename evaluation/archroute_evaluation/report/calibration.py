"""What calibrating found, on the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console

from archroute_evaluation.fitting.minimum import MIN_ANSWERS, Minimum
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.report.text import interval, lines, of, percent
from archroute_server.bundle.manifest import Calibration

# One parameter is fitted well on few examples, but the error that is reported of them is not.
FEW_EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A calibration, what it replaced if anything, and what a person should know of it."""

    folder: str
    calibration: Calibration
    replaced: Calibration | None
    written: bool
    accuracy: Proportion
    error_by_chance: float
    """The calibration error that a calibrated router would show on as many examples."""
    minimum: Minimum | None
    at_bound: bool
    failed: tuple[int, ...]


def show_calibration(report: CalibrationReport, console: Console | None = None) -> None:
    """Print it on standard output."""
    console = console or Console()
    for line in _lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(report: CalibrationReport) -> Iterator[str]:
    found = report.calibration
    if report.failed:
        yield f"{len(report.failed)} examples could not be decided and took no part: {lines(report.failed)}"
    yield f"temperature                 {found.temperature:.4g}, fitted on {found.examples} examples"
    if report.replaced is not None:
        yield f"                            replaces {report.replaced.temperature:.4g}"
    yield f"accuracy                    {percent(report.accuracy.share)} ({of(report.accuracy)}), as before"
    yield f"loss                        {found.loss_before:.4f} before, {found.loss_after:.4f} after"
    yield f"expected calibration error  {found.error_before:.4f} before, {found.error_after:.4f} after"
    yield f"                            {report.error_by_chance:.4f} by chance, if the router is calibrated"
    yield from _minimum(report)
    if found.examples < FEW_EXAMPLES:
        yield f"These are few examples: with fewer than {FEW_EXAMPLES}, the figures may not hold for others."
    if report.at_bound:
        yield "The temperature is at the end of the range that was searched: look at the examples first."
    if report.written:
        yield f"Written to {report.folder}; a server that runs must be started again to use it."
    else:
        yield "The bundle is as it was (--dry-run)."


def _minimum(report: CalibrationReport) -> Iterator[str]:
    wanted, minimum = report.calibration.precision, report.minimum
    if minimum is None:
        yield (
            f"minimum probability         none: no {MIN_ANSWERS} surest answers are right in "
            f"{percent(wanted)} of the cases"
        )
        return
    yield f"minimum probability         {minimum.probability:.4f}, for a precision of {percent(wanted)}:"
    yield (
        f"                            {of(minimum.precision)} answers that reach it are right "
        f"({percent(minimum.precision.share)}, 95 % interval {interval(minimum.precision)})"
    )
    yield f"                            {percent(minimum.coverage.share)} of the examples are answered"
