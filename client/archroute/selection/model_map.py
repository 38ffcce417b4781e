"""Which models a policy leads to, and how one of them is chosen."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from archroute.errors import ModelMapError
from archroute.selection.model import Model
from archroute.selection.provider import Provider, is_web_address
from archroute.selection.strategies.strategy import Strategy

__all__ = ["ModelMap", "PolicyModels"]


@dataclass(frozen=True, slots=True)
class PolicyModels:
    """What a model map says of one policy. Each field that is left out is as it would be without an entry."""

    models: tuple[str, ...] | None = None
    """Names of models, the preferred one first, instead of those of the router's answer."""

    strategy: Strategy | None = None

    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights for this policy alone, by the model's name."""

    experiment: str = ""
    """A name for what is tried out here, which a `Selection` repeats."""


class ModelMap:
    """Models by name, the default ones, their providers, and what is special about some policies."""

    def __init__(
        self,
        default: str | Iterable[str],
        *,
        models: Iterable[Model] = (),
        providers: Iterable[Provider] = (),
        policies: Mapping[str, PolicyModels] | None = None,
        strategy: Strategy = Strategy.RANKED,
    ) -> None:
        """Checks that the parts fit together.

        Args:
            default: The names of one or several models, the preferred one first: where a conversation goes if
                no policy fits or the router fails. They need not be among `models`.
            models: What is known of models. One that no entry describes can still be chosen by its name.
            providers: How the APIs of models are reached, for `archroute.openai`. Nothing else needs them.
            policies: By name.
            strategy: For policies that have none of their own.

        Raises:
            ModelMapError: There is no default, a model or a provider is there twice, a number is out of its
                range, or a base URL is none.
        """
        names = (default,) if isinstance(default, str) else tuple(default)
        if not names or not all(names):
            raise ModelMapError("default: name at least one model")
        self._models: dict[str, Model] = {}
        for model in models:
            _check_model(model)
            if model.name in self._models:
                raise ModelMapError(f"models: {model.name!r} is there twice")
            self._models[model.name] = model
        self._providers: dict[str, Provider] = {}
        for provider in providers:
            _check_provider(provider)
            if provider.name in self._providers:
                raise ModelMapError(f"providers: {provider.name!r} is there twice")
            self._providers[provider.name] = provider
        self._policies = dict(policies or {})
        for name, entry in self._policies.items():
            _check_weights(name, entry)
        self._strategy = strategy
        self._default = tuple(self.model(name) for name in dict.fromkeys(names))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ModelMap":
        """Reads a model map from a YAML file; `archroute.selection.model_map_file` shows one.

        Raises:
            ModelMapError: Naming the file, the line and what is wrong there.
        """
        # Late, because PyYAML takes longer to import than the rest of this package.
        from archroute.selection.model_map_file import read_model_map

        return read_model_map(Path(path))

    @property
    def default(self) -> tuple[Model, ...]:
        """The default models, at least one, the preferred one first."""
        return self._default

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that are described."""
        return tuple(self._models.values())

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers that are described, by name."""
        return MappingProxyType(self._providers)

    def model(self, name: str) -> Model:
        """The model of that name, described or not."""
        return self._models.get(name) or Model(name)

    def models_of(self, policy: str, answered: Iterable[str]) -> tuple[Model, ...]:
        """The models of a policy: those of the map, or else those that the router's answer names."""
        entry = self._policies.get(policy)
        names = answered if entry is None or entry.models is None else entry.models
        return tuple(self.model(name) for name in dict.fromkeys(names))

    def entry(self, policy: str) -> PolicyModels:
        """What is special about a policy."""
        return self._policies.get(policy) or PolicyModels()

    def strategy_of(self, policy: str) -> Strategy:
        """How a model of that policy is chosen."""
        return self.entry(policy).strategy or self._strategy


def _check_model(model: Model) -> None:
    where = f"models: {model.name!r}"
    if not model.name:
        raise ModelMapError("models: a model has no name")
    if model.context_window is not None and model.context_window < 1:
        raise ModelMapError(f"{where}: context_window must be 1 token or more")
    if not 0 <= model.weight < float("inf"):
        raise ModelMapError(f"{where}: weight must be 0 or more")
    if model.price is not None and not (
        0 <= model.price.input < float("inf") and 0 <= model.price.output < float("inf")
    ):
        raise ModelMapError(f"{where}: price must be 0 or more")


def _check_provider(provider: Provider) -> None:
    if not provider.name:
        raise ModelMapError("providers: a provider has no name")
    if not is_web_address(provider.base_url):
        raise ModelMapError(f"providers: {provider.name!r}: base_url must begin with https:// or http://")


def _check_weights(policy: str, entry: PolicyModels) -> None:
    where = f"policies: {policy!r}"
    if entry.models is not None and not entry.models:
        raise ModelMapError(f"{where}: models is empty; leave it out to use those of the router's answer")
    for name, weight in entry.weights.items():
        if not 0 <= weight < float("inf"):
            raise ModelMapError(f"{where}: the weight of {name!r} must be 0 or more")
        if entry.models is not None and name not in entry.models:
            raise ModelMapError(f"{where}: weights names {name!r}, which is not among its models")
