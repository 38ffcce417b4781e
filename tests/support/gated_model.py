"""A model that waits, so that a test decides what stands in the queue when it goes on."""

import threading
from dataclasses import dataclass, field

from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from support.wrapped_model import WrappedModel


@dataclass
class GatedModel(WrappedModel):
    """Waits at the gate before each pass of `model`; `arrived` is set by the first to get there.

    Keeps every `Forward` that went through.
    """

    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    forwards: list[Forward] = field(default_factory=list)

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        self.arrived.set()
        assert self.gate.wait(30)
        self.forwards.append(forward)
        return self.model.run(forward, past)
