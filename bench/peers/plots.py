"""The plots of RESULTS.md, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peers.curves import file_name
from peers.figures import Latency
from peers.measuring import CALLERS, MAIN_CASE
from peers.peer import PEERS
from peers.results import Results
from peers.shapes import Shape

_OURS, _PEERS = "#c53030", "#4a5568"
_DOTS_PER_INCH = 120


def peers_file(shape: Shape) -> str:
    """Return the name of the plot that compares the peers."""
    return f"results-{shape.name}.png"


def curves_file(shape: Shape) -> str:
    """Return the name of the plot with the curves."""
    return f"curves-{shape.name}.png"


def draw_all(measured: Sequence[Results], output: Path) -> None:
    """Draw what there is for each shape into the folder `output`."""
    for results in measured:
        found = {name: results.read(name) for name in PEERS}
        compared = {name: each for name, each in found.items() if MAIN_CASE in each.get("cases", {})}
        draw_peers(compared, output / peers_file(results.shape))
        curves = {
            name: each for name, peer in PEERS.items() if (each := results.read(file_name(peer)).get("cases"))
        }
        if curves:
            draw_curves(curves, found, output / curves_file(results.shape))


def draw_peers(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw p50 with p95 and p99, and decisions per second, a bar for each peer."""
    figure = Figure(figsize=(11, 1.4 + 0.4 * len(found)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = list(found)
    colours = [_OURS if PEERS[name].ours else _PEERS for name in names]
    latencies = [Latency.of(found[name]["cases"][MAIN_CASE]["seconds"]) for name in names]
    places = range(len(names))
    left.barh(places, [latency.p50 for latency in latencies], color=colours)
    left.plot([latency.p95 for latency in latencies], places, "k|", markersize=10, label="p95")
    left.plot([latency.p99 for latency in latencies], places, "k.", label="p99")
    left.set_yticks(places, [PEERS[name].title for name in names])
    left.invert_yaxis()
    left.set(xlabel="p50, milliseconds", title=MAIN_CASE)
    left.legend(loc="upper right")
    height = 0.8 / len(CALLERS)
    for number, callers in enumerate(CALLERS):
        bursts = [found[name].get("bursts", {}).get(str(callers)) for name in names]
        rates = [burst["decisions"] / burst["seconds"] if burst else 0.0 for burst in bursts]
        offsets = [place + (number - 1) * height for place in places]
        right.barh(offsets, rates, height, alpha=0.4 + 0.3 * number, color=colours)
        for rate, offset in zip(rates, offsets, strict=True):
            right.annotate(f" {callers}", (rate, offset), va="center", fontsize=7)
    right.set(xlabel="decisions per second with 1, 4 and 16 callers", title=MAIN_CASE)
    _save(figure, [left, right], path)


def draw_curves(curves: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw p50 over new tokens and over policies, and decisions per second over callers."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    by_tokens, by_policies, by_callers = figure.subplots(1, 3)
    for name, cases in curves.items():
        for axes, ending in ((by_tokens, "new tokens"), (by_policies, "short policies")):
            points = [
                (int(case.split()[0]), Latency.of(each["seconds"]).p50)
                for case, each in cases.items()
                if case.endswith(ending)
            ]
            axes.plot(*zip(*sorted(points), strict=True), "o-", label=PEERS[name].title)
    for name, each in found.items():
        if bursts := each.get("bursts"):
            points = [
                (int(callers), burst["decisions"] / burst["seconds"]) for callers, burst in bursts.items()
            ]
            style = {"color": _OURS} if PEERS[name].ours else {}
            by_callers.plot(*zip(*sorted(points), strict=True), "o-", label=PEERS[name].title, **style)
    by_tokens.set(xlabel="new tokens", ylabel="p50, milliseconds", xscale="log", yscale="log")
    by_policies.set(xlabel="policies, once warm", ylabel="p50, milliseconds", xscale="log")
    by_policies.set_ylim(bottom=0)
    by_callers.set(xlabel="callers", ylabel="decisions per second", xscale="log")
    by_callers.set_xticks(CALLERS, [str(callers) for callers in CALLERS])
    by_callers.set_ylim(bottom=0)
    by_tokens.legend(fontsize=7)
    by_callers.legend(fontsize=6)
    _save(figure, [by_tokens, by_policies, by_callers], path)


def _save(figure: Figure, all_axes: Sequence[Axes], path: Path) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
