"""The temperature at which the model's probabilities fit what is right best."""

import math
from dataclasses import dataclass

from archroute_evaluation.fitting.choices import ChoiceTable

# A router that needs less or more than this is not calibrated but broken, or has too few examples.
LOWEST, HIGHEST = 0.05, 20.0

_GOLDEN = (math.sqrt(5) - 1) / 2
_PRECISION = 1e-6


@dataclass(frozen=True, slots=True)
class Fit:
    """A temperature, and the losses without it and with it, in nats for each example."""

    temperature: float
    loss_before: float
    loss_after: float

    @property
    def at_bound(self) -> bool:
        """Whether the best temperature lies at the end of the range that was searched, or beyond."""
        return not LOWEST * 1.01 < self.temperature < HIGHEST / 1.01


def fit_temperature(table: ChoiceTable) -> Fit:
    """Return the temperature of the least loss, from `LOWEST` to `HIGHEST`, to six digits.

    The loss is convex in 1 / T: each branch adds the logarithm of a sum of exponentials of multiples of it,
    less another multiple. So it falls and then rises in log T too, and golden-section search finds its one
    minimum: https://en.wikipedia.org/wiki/Golden-section_search
    """
    low, high = math.log(LOWEST), math.log(HIGHEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = table.loss(math.exp(left)), table.loss(math.exp(right))
    while high - low > _PRECISION:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = table.loss(math.exp(left))
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = table.loss(math.exp(right))
    temperature = float(f"{math.exp((low + high) / 2):.6g}")
    before, after = table.loss(1.0), table.loss(temperature)
    # Where the search ends within its precision of 1, it must not do worse than nothing.
    return Fit(temperature, before, after) if after < before else Fit(1.0, before, before)
