"""What each strategy costs where the truth is known: `python bench/strategies.py [FOLDER]`.

Four models, of which it is known how often they earn a reward, how long they take and what they cost. Each
strategy chooses among them through `select`, is told by `report` what came of it, and is charged with what it
missed by not choosing the best model: its regret. Half way the truth changes. There are three measures, as
each strategy goes by another one; a strategy is only to be blamed for its own. Writes strategies.png and
strategies.md; the same seeds give the same figures.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from archroute import Model, ModelMap, Needs, Selector, Strategy
from archroute.selection import AnswerCache, PolicyModels, Price
from archroute.testing import FakeRouter, decision

ROUNDS = 4_000
SEEDS = 5
NEEDS = Needs(input_tokens=1_000, output_tokens=500)
WEIGHTS = {"large": 70, "medium": 20, "small": 5, "new": 5}
MODELS = (
    Model("large", price=Price(3, 15)),
    Model("medium", price=Price(0.3, 2.5)),
    Model("small", price=Price(0.1, 0.4)),
    Model("new", price=Price(0.5, 2)),
)
MEASURES = {"reward": "rewards missed", "seconds": "seconds lost", "price": "money lost"}


@dataclass(frozen=True)
class Truth:
    """What a model is really like."""

    reward: float
    """How probable it is that it earns a reward of 1, and not of 0."""

    seconds: float
    """How long it takes in the mean."""


BEFORE = {
    "large": Truth(0.85, 2.0),
    "medium": Truth(0.80, 0.9),
    "small": Truth(0.60, 0.4),
    "new": Truth(0.70, 0.7),
}
# One model has become better, and the fastest one slow.
AFTER = {**BEFORE, "new": Truth(0.95, 0.7), "small": Truth(0.60, 2.5)}


def regret_of(model: Model, truths: Mapping[str, Truth]) -> dict[str, float]:
    """What is missed by choosing `model` once, by measure, in expectation."""
    costs = {each.name: _cost(each) for each in MODELS}
    return {
        "reward": max(each.reward for each in truths.values()) - truths[model.name].reward,
        "seconds": truths[model.name].seconds - min(each.seconds for each in truths.values()),
        "price": costs[model.name] - min(costs.values()),
    }


def _cost(model: Model) -> float:
    assert model.price is not None, "every model of the simulation has a price"
    return model.price.of(NEEDS.input_tokens, NEEDS.output_tokens)


def play(strategy: Strategy, *, rounds: int, seed: int) -> dict[str, list[float]]:
    """The regret after each round, by measure."""
    entry = PolicyModels(tuple(model.name for model in MODELS), strategy, WEIGHTS)
    selector = Selector(
        ModelMap(MODELS[0].name, models=MODELS, policies={"code": entry}),
        stickiness=None,
        cache=AnswerCache(entries=0),
        seed=seed,
    )
    environment = random.Random(f"environment {seed}")
    sums = dict.fromkeys(MEASURES, 0.0)
    regrets: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    with FakeRouter(decision("code"), selector=selector) as router:
        for turn in range(rounds):
            truths = BEFORE if turn < rounds // 2 else AFTER
            selection = router.select("Write a function", key=f"session {seed} {turn}", needs=NEEDS)
            truth = truths[selection.model.name]
            router.report(
                selection,
                reward=float(environment.random() < truth.reward),
                # Never less than half of the mean, and now and then several times as much.
                latency=truth.seconds * (0.5 + environment.expovariate(2)),
            )
            for measure, regret in regret_of(selection.model, truths).items():
                sums[measure] += regret
                regrets[measure].append(sums[measure])
    return regrets


def simulate(rounds: int, seeds: Sequence[int]) -> dict[Strategy, list[dict[str, list[float]]]]:
    """The regrets of each strategy, at each seed."""
    return {strategy: [play(strategy, rounds=rounds, seed=seed) for seed in seeds] for strategy in Strategy}


def table(played: Mapping[Strategy, Sequence[Mapping[str, Sequence[float]]]]) -> str:
    """The regrets at the end, in Markdown: the mean of the seeds, and the least and the most."""
    lines = [
        "| Strategy | " + " | ".join(f"{name.capitalize()}" for name in MEASURES.values()) + " |",
        "| --- |" + " ---: |" * len(MEASURES),
    ]
    for strategy, runs in played.items():
        cells = []
        for measure in MEASURES:
            ends = [run[measure][-1] for run in runs]
            cells.append(f"{fmean(ends):.4g} ({min(ends):.4g} to {max(ends):.4g})")
        lines.append(f"| `{strategy.value}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(played: Mapping[Strategy, Sequence[Mapping[str, Sequence[float]]]], path: Path) -> None:
    """Draws the regret over the rounds: the mean of the seeds, with a band from the least to the most."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(12, 4), layout="constrained")
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        for strategy, runs in played.items():
            columns = list(zip(*(run[measure] for run in runs), strict=True))
            rounds = range(1, len(columns) + 1)
            [line] = axis.plot(rounds, [fmean(column) for column in columns], label=strategy.value)
            least, most = [min(column) for column in columns], [max(column) for column in columns]
            axis.fill_between(rounds, least, most, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.axvline(len(columns) // 2, color="grey", linewidth=0.8, linestyle=":")
        axis.set_title(title)
        axis.set_xlabel("selections")
    axes[0].set_ylabel("regret")
    axes[0].legend()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main() -> None:
    """Simulates, and writes the plot and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    played = simulate(arguments.rounds, range(arguments.seeds))
    plot(played, arguments.folder / "strategies.png")
    text = (
        f"Regret after {arguments.rounds} selections, the mean of {arguments.seeds} seeds (least to most),\n"
        "by `bench/strategies.py`. Half way one model becomes better, and the fastest one slow.\n\n"
        + table(played)
    )
    (arguments.folder / "strategies.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
