"""From the seconds of single decisions to the figures that are reported."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds of so many decisions."""

    p50: float
    p95: float
    p99: float
    decisions: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """Raises `ValueError` if there is no decision."""
        if not seconds:
            raise ValueError("there are no decisions")
        p50, p95, p99 = (1000 * percentile(seconds, share) for share in (0.50, 0.95, 0.99))
        return cls(p50, p95, p99, len(seconds))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of `values` lies, interpolated between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def same_choice(reference: Sequence[str], found: Sequence[str]) -> float | None:
    """Return the share of requests that both decided and chose the same for; None if there are none."""
    both = list(zip(reference, found, strict=False))
    if not both:
        return None
    return sum(one == other for one, other in both) / len(both)
