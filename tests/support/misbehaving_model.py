"""A model that fails on command, the way that a session of ONNX Runtime can."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from archroute_server.engine.model import Model
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache

PATIENCE = 120.0


class SessionFailure(Exception):
    """Stands for whatever ONNX Runtime raises."""


@dataclass
class MisbehavingModel:
    """Does what `model` does, unless it was told to fail.

    `runs` counts the forward passes that were begun, `failures` those that did not go well. May be told
    things while another thread runs it.
    """

    model: Model
    runs: int = 0
    failures: int = 0
    _raising: int = 0
    _giving_nan: int = 0
    _free: threading.Event = field(default_factory=threading.Event)
    _hanging: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._free.set()

    @property
    def tree_attention(self) -> bool:
        return self.model.tree_attention

    def empty_cache(self) -> KeyValueCache:
        return self.model.empty_cache()

    def raise_next(self, passes: int = 1) -> None:
        """Let so many passes raise, from the next one on."""
        self._raising = passes

    def give_nan_next(self, passes: int = 1) -> None:
        """Let so many passes give logits that are not numbers."""
        self._giving_nan = passes

    def behave(self) -> None:
        """Raise no more, and give numbers."""
        self._raising = self._giving_nan = 0

    @contextmanager
    def hanging(self) -> Iterator[threading.Event]:
        """Let the next pass, and those after it, hang until the block ends; the event says that one does."""
        self._hanging.clear()
        self._free.clear()
        try:
            yield self._hanging
        finally:
            self._free.set()

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """Run one forward pass, or fail at it."""
        self.runs += 1
        if not self._free.is_set():
            self.failures += 1
            self._hanging.set()
            if not self._free.wait(PATIENCE):
                raise TimeoutError("nobody let the model go on")
        if self._raising:
            self._raising -= 1
            self.failures += 1
            raise SessionFailure("told to fail")
        logits, present = self.model.run(forward, past)
        if self._giving_nan:
            self._giving_nan -= 1
            self.failures += 1
            logits = np.full_like(logits, np.nan)
        return logits, present
