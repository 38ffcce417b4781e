"""Ways of putting a policy's models into the order in which to try them."""

from archroute.selection.strategies.choice import Choice
from archroute.selection.strategies.strategy import Strategy

__all__ = ["Choice", "Strategy"]
