"""How a training run went, step by step, as a table and as a plot."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

LOSS_FILE = "loss.csv"
PLOT_FILE = "loss.svg"

RECENT = 50
"""Over how many steps a figure is told: that of a single step says little."""


@dataclass(frozen=True, slots=True)
class Step:
    """One update of the adapter.

    `loss` is the mean over the step's examples of minus the log of the right answer's probability, in nats;
    `accuracy` the share of them whose greedy answer was right, before the update.
    """

    step: int
    loss: float
    accuracy: float
    examples: int
    tokens: int
    learning_rate: float
    seconds: float


def write_table(path: Path, steps: Sequence[Step]) -> None:
    """Write a CSV file, one line a step."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Step)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: round(value, 6) if isinstance(value, float) else value for name, value in entry.items()}
            for entry in map(asdict, steps)
        )


def write_plot(path: Path, steps: Sequence[Step]) -> None:
    """Draw loss and accuracy over the steps: each step pale, and their running mean."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    # The same run draws the same file.
    rcParams["svg.hashsalt"] = "archroute"
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    numbers = [entry.step for entry in steps]
    for axes, values, label in (
        (above, [entry.loss for entry in steps], "loss (nats)"),
        (below, [entry.accuracy for entry in steps], "accuracy"),
    ):
        axes.plot(numbers, values, color="tab:blue", alpha=0.25, linewidth=0.8)
        axes.plot(numbers, running_mean(values, max(1, len(values) // 20)), color="tab:blue")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    below.set_xlabel("step")
    figure.savefig(path, metadata={"Date": None})


def recent_mean(values: Sequence[float]) -> float:
    """Return the mean of the last `RECENT` values, or of all if they are fewer. There is one or more."""
    recent = values[-RECENT:]
    return sum(recent) / len(recent)


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and those before it, `window` in all or as many as there are."""
    means = []
    total = 0.0
    for index, value in enumerate(values):
        total += value
        if index >= window:
            total -= values[index - window]
        means.append(total / min(index + 1, window))
    return means
