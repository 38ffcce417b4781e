"""A model around another, for tests that come between the two."""

from dataclasses import dataclass

from archroute_server.engine.model import Model
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache


@dataclass
class WrappedModel:
    """Is as `model` is."""

    model: Model

    @property
    def tree_attention(self) -> bool:
        return self.model.tree_attention

    def empty_cache(self) -> KeyValueCache:
        return self.model.empty_cache()

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        return self.model.run(forward, past)
