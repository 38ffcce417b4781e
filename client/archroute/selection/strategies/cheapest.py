"""The model that costs least."""

import math

from archroute.selection.model import Model
from archroute.selection.strategies.choice import Choice

__all__ = ["ASSUMED_OUTPUT_TOKENS", "cheapest"]

ASSUMED_OUTPUT_TOKENS = 512
"""Tokens of a reply, if the needs do not say."""


def cheapest(choice: Choice) -> tuple[Model, ...]:
    """The models by the cost of this conversation and its reply; those without a price last."""
    output = choice.needs.output_tokens or ASSUMED_OUTPUT_TOKENS

    def cost(model: Model) -> float:
        return math.inf if model.price is None else model.price.of(choice.needs.input_tokens, output)

    return tuple(sorted(choice.models, key=cost))
