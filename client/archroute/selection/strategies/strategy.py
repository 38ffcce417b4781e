"""The names of the strategies."""

import enum

__all__ = ["Strategy"]


class Strategy(enum.Enum):
    """How one of a policy's models is chosen, of those that can do what the conversation needs."""

    RANKED = "ranked"
    """The first, in the order in which the policy has them."""

    WEIGHTED = "weighted"
    """By weight, and always the same for one session: for experiments and canary releases."""

    CHEAPEST = "cheapest"
    """The one that costs least for a conversation of this length."""

    FASTEST = "fastest"
    """The one with the least latency of late, as the application reported it."""

    BANDIT = "bandit"
    """The one that earns most reward, as the application reported it, found out by Thompson sampling."""
