"""Proportion: how many of how many, and how certain that is."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# The quantile of the standard normal distribution for an interval of 95 %.
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Proportion:
    """`hits` of `total`."""

    hits: int
    total: int

    @classmethod
    def of(cls, values: Iterable[bool]) -> "Proportion":
        """Count what is true among `values`."""
        counted = list(values)
        return cls(sum(counted), len(counted))

    @property
    def share(self) -> float | None:
        """From 0 to 1; None of nothing."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of Wilson (1927), which stays within 0 and 1 and holds for few examples too.

        With p = hits / n and z the quantile, its ends are

            (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)

        Source: https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
        """
        if not self.total:
            return None
        n, p, z = self.total, self.hits / self.total, Z_95
        centre = p + z * z / (2 * n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        # By rounding alone, an end could lie just outside.
        return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
