"""A floor of exploration: now and then any model, so that none is given up for good."""

import random

from archroute.selection.model import Model

__all__ = ["explored"]


def explored(models: tuple[Model, ...], rng: random.Random, exploration: float) -> tuple[Model, ...]:
    """The models as they are, or, with the probability `exploration`, any one of them before the others."""
    if rng.random() >= exploration:
        return models
    lead = models[rng.randrange(len(models))]
    return (lead, *(each for each in models if each is not lead))
