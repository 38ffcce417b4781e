"""What a strategy chooses among, and for whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from archroute.selection.model import Model
from archroute.selection.needs import Needs

__all__ = ["Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Models that can all do what is needed, the preferred one first."""

    models: tuple[Model, ...]

    policy: str
    """Whose models these are. Rewards are kept by it."""

    key: str
    """The session."""

    needs: Needs = field(default_factory=Needs)

    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights by model name, over those that the models have of their own."""

    salt: str = ""
    """The name of the experiment, so that the splits of two experiments have nothing to do with each
    other."""

    def weight(self, model: Model) -> float:
        """The share of a model, relative to the others."""
        return self.weights.get(model.name, model.weight)
