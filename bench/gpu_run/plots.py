"""The plot of GPU_RESULTS.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpu_run.found import Found, Measured
from gpu_run.plan import Plan

_DOTS_PER_INCH = 120


def draw(plan: Plan, whole: Mapping[str, Any], path: Path) -> None:
    """Draw p50 over new tokens beside its floor, and decisions per second over callers, if there are any."""
    found = Found(plan, whole)
    measured = found.measured()
    if not measured:
        return
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    latency, rate = figure.subplots(1, 2)
    for each in measured:
        _draw_latency(latency, plan, each)
    floors = [(tokens, floor) for tokens in plan.new_tokens if (floor := found.floor(tokens)) is not None]
    if floors:
        latency.plot(*zip(*floors, strict=True), "k:", label="bare float16 products")
    for each in found.engines():
        _draw_rate(rate, plan, each)
    latency.set(xlabel="new tokens", ylabel="p50 of one caller, milliseconds", xscale="log", yscale="log")
    latency.set_title(f"{plan.policies[0]} policies")
    rate.set(xlabel="callers", ylabel="decisions per second", xscale="log", title=plan.main_case().name)
    rate.set_xticks(plan.callers, [str(callers) for callers in plan.callers])
    rate.set_ylim(bottom=0)
    for axes in (latency, rate):
        axes.spines[["top", "right"]].set_visible(False)
        if axes.has_data():
            axes.legend(fontsize=7)
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _draw_latency(axes: Axes, plan: Plan, each: Measured) -> None:
    cases = [case for case in plan.cases() if case.policies == plan.policies[0]]
    points = [(case.new_tokens, figures["p50"]) for case in cases if (figures := each.figures(case, 1))]
    if points:
        axes.plot(*zip(*points, strict=True), "o-" if each.ours else "s--", label=each.title)


def _draw_rate(axes: Axes, plan: Plan, each: Measured) -> None:
    points = [
        (callers, figures["per_second"])
        for callers in plan.callers
        if (figures := each.figures(plan.main_case(), callers))
    ]
    if points:
        axes.plot(*zip(*points, strict=True), "o-", label=each.title)
