"""The plots of the HTML report, as SVG."""

import io
import warnings
from collections.abc import Sequence

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from archroute_evaluation.metrics.breakdown import Breakdown
from archroute_evaluation.metrics.confusion import Confusion
from archroute_evaluation.metrics.reliability import Bin
from archroute_evaluation.metrics.risk_coverage import CurvePoint

_BLUE, _GREY, _RED = "#2b6cb0", "#a0aec0", "#c53030"
_NAME_SHOWN = 40


def reliability_diagram(bins: Sequence[Bin]) -> Markup:
    """Plot how often answers are right over how probable they were said to be."""
    figure, axes = _new(4.6, 4.2)
    filled = [each for each in bins if each.accuracy is not None]
    width = 1 / len(bins)
    axes.bar([each.low for each in filled], [each.accuracy or 0 for each in filled], width,
             align="edge", color=_BLUE, edgecolor="white")  # fmt: skip
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--")
    axes.plot([each.confidence or 0 for each in filled], [each.accuracy or 0 for each in filled],
              "o", color=_RED, markersize=3)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the answer", ylabel="share that is right")
    return _svg(figure, "Reliability: the share of right answers over their probability")


def risk_coverage_plot(curve: Sequence[CurvePoint]) -> Markup:
    """Plot the share of wrong answers over the share of examples that are answered."""
    figure, axes = _new(4.6, 4.2)
    axes.step([point.coverage for point in curve], [point.risk for point in curve], where="pre", color=_BLUE)
    axes.set(xlim=(0, 1), xlabel="share of examples answered", ylabel="share of answers that is wrong")
    axes.set_ylim(bottom=0)
    return _svg(figure, "Risk and coverage: the share of wrong answers over the share answered")


def breakdown_plot(breakdown: Breakdown) -> Markup:
    """Plot the accuracy of each group, with its 95 % interval."""
    groups = [group for group in breakdown.groups if group.accuracy.share is not None]
    figure, axes = _new(6.4, 1.0 + 0.3 * len(groups))
    shares = [group.accuracy.share or 0.0 for group in groups]
    ends = [group.accuracy.interval or (0.0, 0.0) for group in groups]
    errors = [
        [max(0.0, share - low) for share, (low, _) in zip(shares, ends, strict=True)],
        [max(0.0, high - share) for share, (_, high) in zip(shares, ends, strict=True)],
    ]
    places = range(len(groups))
    axes.barh(places, shares, xerr=errors, color=_BLUE, ecolor=_GREY)
    _name(axes, [f"{_shortened(group.label)} ({group.accuracy.total})" for group in groups])
    axes.set(xlim=(0, 1), xlabel="accuracy")
    return _svg(figure, f"Accuracy by {breakdown.title}")


def confusion_plot(confusions: Sequence[Confusion]) -> Markup:
    """Plot how often each of the worst pairs was confused."""
    figure, axes = _new(7.2, 1.0 + 0.3 * len(confusions))
    axes.barh(range(len(confusions)), [each.count for each in confusions], color=_RED)
    _name(axes, [f"{_shortened(each.expected)} → {_shortened(each.answer)}" for each in confusions])
    axes.set(xlabel="times")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure, "The pairs that were confused most often: expected → answered")


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _name(axes: Axes, names: Sequence[str]) -> None:
    # A name may hold dollar signs, which are no formulas here.
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN else f"{name[: _NAME_SHOWN - 1]}…"


def _svg(figure: Figure, description: str) -> Markup:
    """Draw as SVG to stand in HTML: text stays text, and the same figures give the same bytes."""
    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": description}),
        warnings.catch_warnings(),
    ):
        # The browser has the glyphs of a name that this machine's fonts lack.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": description})
    drawing = buffer.getvalue()
    # Without the declaration and the document type, which belong to a file of its own. Matplotlib escaped it.
    return Markup(drawing[drawing.index("<svg") :])
