"""A model that fails when it is told to."""

import threading
from dataclasses import dataclass, field

import numpy as np

from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.host_cache import HostCache
from archroute_server.runtime.kv_cache import KeyValueCache
from support.wrapped_model import WrappedModel


@dataclass
class FaultyModel(WrappedModel):
    """Passes on to `model`, unless a fault was injected.

    `hanging` is set while a pass hangs, until `release` is set. Once released it does not hang again.
    """

    raises: bool = False
    not_a_number: bool = False
    hangs: bool = False
    hanging: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

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
