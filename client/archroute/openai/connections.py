"""One official client for each provider, made when it is first needed."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from archroute.errors import ModelMapError
from archroute.selection.model import Model
from archroute.selection.model_map import ModelMap
from archroute.selection.provider import Provider

__all__ = ["NO_KEY", "Connections"]

_Client = TypeVar("_Client")

NO_KEY = "none"
"""Sent as the key to a provider that wants none: the official client refuses to have no key at all."""


class Connections(Generic[_Client]):
    """The clients of providers. Thread-safe."""

    def __init__(self, given: Mapping[str, _Client], make: Callable[[Provider, str], _Client]) -> None:
        """Makes none yet.

        Args:
            given: Clients that the application made, by the provider's name; the empty name is for models of
                which no provider is known.
            make: Makes the client of a provider, with its key.
        """
        self._given = dict(given)
        self._make = make
        self._lock = threading.Lock()
        # By the whole provider: one whose address has changed in the model map gets another client.
        self._made: dict[Provider, _Client] = {}

    def check(self, model_map: ModelMap) -> None:
        """Finds out early what would otherwise come to light when a model is needed.

        Raises:
            ModelMapError: A model of the map has no provider, or a provider has no key.
        """
        for provider in model_map.providers.values():
            if provider.name not in self._given:
                _key(provider)
        for model in (*model_map.models, *model_map.default):
            self._provider(model, model_map)

    def of(self, model: Model, model_map: ModelMap) -> _Client:
        """The client that a model is called by.

        Raises:
            ModelMapError: As for `check`.
        """
        provider = self._provider(model, model_map)
        if provider is None:
            return self._given[model.provider]
        with self._lock:
            if provider not in self._made:
                self._made[provider] = self._make(provider, _key(provider))
            return self._made[provider]

    def made(self) -> tuple[_Client, ...]:
        """The clients that were made here, for whoever closes them."""
        with self._lock:
            return tuple(self._made.values())

    def _provider(self, model: Model, model_map: ModelMap) -> Provider | None:
        """The model's provider, or None if its client is given."""
        if model.provider in self._given:
            return None
        provider = model_map.providers.get(model.provider)
        if provider is None:
            lacks = (
                f"its provider {model.provider!r} is not among `providers`"
                if model.provider
                else ("it has no `provider`")
            )
            raise ModelMapError(
                f"models: {model.name!r} cannot be called, because {lacks} of the model map; describe it "
                f"there, or give a client for {model.provider!r} with `clients`"
            )
        return provider


def _key(provider: Provider) -> str:
    if not provider.api_key_variable:
        return NO_KEY
    key = os.environ.get(provider.api_key_variable, "")
    if not key:
        raise ModelMapError(
            f"providers: {provider.name!r} has its key in the environment variable "
            f"{provider.api_key_variable}, which is not set; set it, or give a client for it with `clients`"
        )
    return key
