"""The report on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archroute_evaluation.metrics.breakdown import Breakdown
from archroute_evaluation.metrics.confusion import Confusion
from archroute_evaluation.report.headline import headline
from archroute_evaluation.report.report import Report
from archroute_evaluation.report.text import decider, interval, lines, of, percent

_CONFUSIONS_SHOWN = 8


def show(report: Report, console: Console | None = None) -> None:
    """Print the report on standard output."""
    console = console or Console()
    evaluation = report.evaluation
    _say(console, f"{report.file}: {evaluation.answered} of {evaluation.examples} examples answered")
    for by in report.decided_by:
        _say(console, f"{report.router}: {decider(by)}")
    if len(report.decided_by) > 1:
        _say(console, "The server changed what it decides with meanwhile: the figures mix them.")
    for failure in evaluation.failures:
        reason = f" ({failure.reason})" if failure.reason else ""
        _say(console, f"{len(failure.lines)} failed with {failure.status}{reason}: {lines(failure.lines)}")
    table = _table("", "value", "95 % interval", "over")
    for figure in headline(evaluation):
        table.add_row(figure.name, figure.value, figure.interval, figure.over)
    console.print(table)
    for breakdown in evaluation.breakdowns:
        if len(breakdown.groups) > 1:
            console.print(_breakdown(breakdown))
    if evaluation.confusions:
        console.print(_confusions(evaluation.confusions[:_CONFUSIONS_SHOWN]))


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _breakdown(breakdown: Breakdown) -> Table:
    table = _table(f"by {breakdown.title}", "accuracy", "95 % interval", "over")
    for group in breakdown.groups:
        # As text, since a name may look like markup.
        table.add_row(
            Text(group.label), percent(group.accuracy.share), interval(group.accuracy), of(group.accuracy)
        )
    return table


def _confusions(confusions: tuple[Confusion, ...]) -> Table:
    table = _table("most often confused: expected", "answered", "times", "over")
    for each in confusions:
        table.add_row(Text(each.expected), Text(each.answer), str(each.count), f"expected {each.of} times")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(Text(first), overflow="fold", min_width=28)
    for title in others:
        table.add_column(title, overflow="fold")
    return table
