"""A model that fails when it is told to."""

import threading
from dataclasses import dataclass, field

import numpy as np

from archroute_server.engine.model import Model
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.host_cache import HostCache
from archroute_server.runtime.kv_cache import KeyValueCache


@dataclass
class FaultyModel:
    """Passes on to `model`, unless a fault was injected.

    `hanging` is set while a pass hangs, until `release` is set. Once released it does not hang again.
    """

    model: Model
    raises: bool = False
    not_a_number: bool = False
    hangs: bool = False
    hanging: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def tree_attention(self) -> bool:
        return self.model.tree_attention

    def empty_cache(self) -> KeyValueCache:
        return self.model.empty_cache()

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        if self.hangs:
            self.hanging.set()
            self.release.wait()
            self.hanging.clear()
        if self.raises:
            raise RuntimeError("secret: the device fell off the bus")
        logits, cache = self.model.run(forward, past)
        if self.not_a_number:
            assert isinstance(cache, HostCache)
            spoilt = tuple(np.full_like(array, np.nan) for array in cache.arrays)
            return np.full_like(logits, np.nan), HostCache(spoilt)
        return logits, cache
