"""The model with the least latency of late."""

import random
from collections.abc import Mapping

from archroute.selection.model import Model
from archroute.selection.strategies.choice import Choice
from archroute.selection.strategies.exploring import explored

__all__ = ["fastest"]


def fastest(
    choice: Choice, latencies: Mapping[str, float], rng: random.Random, exploration: float
) -> tuple[Model, ...]:
    """The models by latency, those without one last.

    With the probability `exploration` one of all models leads, whichever: so that each is measured, and a
    model that was slow once gets another chance.
    """
    known = sorted(
        (each for each in choice.models if each.name in latencies), key=lambda each: latencies[each.name]
    )
    unknown = [each for each in choice.models if each.name not in latencies]
    return explored((*known, *unknown), rng, exploration)
