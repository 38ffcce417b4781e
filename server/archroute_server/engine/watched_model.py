"""WatchedModel: a model whose forward passes are timed while they run, and whose faults have one name."""

import time
from collections.abc import Callable

import numpy as np

from archroute_server.engine.errors import ModelFailed, ModelOutputInvalid
from archroute_server.engine.model import Model
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache


class WatchedModel:
    """Runs the forward passes of another model. One thread runs it, and any may ask how long it has."""

    def __init__(self, model: Model, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._clock = clock
        self._since: float | None = None

    @property
    def tree_attention(self) -> bool:
        """See `Model.tree_attention`."""
        return self._model.tree_attention

    @property
    def running_seconds(self) -> float:
        """How long the forward pass under way has run; 0 if there is none."""
        since = self._since
        return 0.0 if since is None else max(0.0, self._clock() - since)

    def empty_cache(self) -> KeyValueCache:
        """See `Model.empty_cache`."""
        return self._model.empty_cache()

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """See `Model.run`.

        Raises `ModelFailed` from whatever the model raises, and `ModelOutputInvalid` for logits that are not
        finite: no decision must be made of them.
        """
        self._since = self._clock()
        try:
            logits, cache = self._model.run(forward, past)
        except Exception as error:
            raise ModelFailed from error
        finally:
            self._since = None
        if not np.isfinite(logits).all():
            raise ModelOutputInvalid
        return logits, cache
