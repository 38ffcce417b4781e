"""From a policy to a downstream model: what `Router.select` is made of.

    selector ──┬── chooser ──── strategies ──── model_map ──── model
               ├── stickiness, sessions         (which of them fit: needs)
               ├── breaker, health, answer_cache
               └── selection ── reasons, counters

All of it computes; none of it opens a connection.
"""

from archroute.selection.answer_cache import AnswerCache
from archroute.selection.breaker import CircuitBreaker, CircuitState
from archroute.selection.counters import Counters, CountersSnapshot
from archroute.selection.model import Model, Price
from archroute.selection.model_map import ModelMap, PolicyModels
from archroute.selection.needs import Needs
from archroute.selection.provider import Provider
from archroute.selection.reasons import SelectionOutcome, SelectionReason
from archroute.selection.rewards import MemoryRewards, Rewards, RewardStore
from archroute.selection.selection import Selection
from archroute.selection.selector import Selector
from archroute.selection.stickiness import Holding, Stickiness, Turn, Verdict
from archroute.selection.strategies.strategy import Strategy

__all__ = [
    "AnswerCache",
    "CircuitBreaker",
    "CircuitState",
    "Counters",
    "CountersSnapshot",
    "Holding",
    "MemoryRewards",
    "Model",
    "ModelMap",
    "Needs",
    "PolicyModels",
    "Price",
    "Provider",
    "RewardStore",
    "Rewards",
    "Selection",
    "SelectionOutcome",
    "SelectionReason",
    "Selector",
    "Stickiness",
    "Strategy",
    "Turn",
    "Verdict",
]
