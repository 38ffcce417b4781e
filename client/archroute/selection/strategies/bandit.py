"""Thompson sampling: each model is tried about as often as it may be the best.

A model's mean reward is unknown, and what is known of it is a Beta distribution. A number is drawn from each,
and the highest wins. A model of which little is known draws high now and then, and so is tried; one that is
known to be worse hardly ever does.

Sources: Thompson, On the Likelihood that One Unknown Probability Exceeds Another, Biometrika 25, 1933; for
rewards between 0 and 1, Agrawal and Goyal, Analysis of Thompson Sampling, COLT 2012, who toss a coin for
each. Adding the fraction itself, as here, has the same mean with less noise.
"""

import random
from collections.abc import Mapping

from archroute.selection.model import Model
from archroute.selection.rewards import Rewards
from archroute.selection.strategies.choice import Choice
from archroute.selection.strategies.exploring import explored

__all__ = ["bandit"]

_NOTHING = Rewards()


def bandit(
    choice: Choice, rewards: Mapping[str, Rewards], rng: random.Random, exploration: float
) -> tuple[Model, ...]:
    """The models by what was drawn for each, from their `rewards` by name.

    With the probability `exploration` one of all models leads, whichever. That costs a little for ever, and
    is what notices that a model has become better.
    """

    def draw(model: Model) -> float:
        known = rewards.get(model.name, _NOTHING)
        # Beta(1, 1), the prior, is uniform: nothing is known.
        return rng.betavariate(1 + known.gained, 1 + known.missed)

    drawn = {model.name: draw(model) for model in choice.models}
    by_draw = sorted(choice.models, key=lambda model: -drawn[model.name])
    return explored(tuple(by_draw), rng, exploration)
