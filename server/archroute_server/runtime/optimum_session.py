"""OptimumSession: one ONNX Runtime session over a graph that optimum exported."""

from pathlib import Path

import numpy as np

from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.host_cache import Array, HostCache
from archroute_server.runtime.inference_session import load_graph
from archroute_server.runtime.kv_cache import KeyValueCache, cache_names
from archroute_server.runtime.providers import Provider


class OptimumSession:
    """Runs forward passes over sequences: the graph has no attention bias, so there are no trees.

    Inputs are input_ids, attention_mask, position_ids, past_key_values.{layer}.key|value; outputs are the
    logits of the whole vocabulary at every position, of which the wanted ones are picked here, and
    present.{layer}.key|value. All floats are float32.
    """

    tree_attention = False

    def __init__(self, graph: Path, dimensions: ModelDimensions, provider: Provider, threads: int) -> None:
        """Load the graph; see `load_graph`."""
        self._session = load_graph(graph, provider, threads)
        self.provider = provider
        self.dimensions = dimensions

    def empty_cache(self) -> KeyValueCache:
        """Return a cache of no tokens."""
        sizes = (1, self.dimensions.key_value_heads, 0, self.dimensions.head_size)
        return HostCache(tuple(np.empty(sizes, np.float32) for _ in range(2 * self.dimensions.layers)))

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """Run one forward pass: logits `[M, C]`, and the cache of all P + N tokens.

        Raises `ValueError` unless each token sees the past, itself and every token before it.
        """
        assert isinstance(past, HostCache)
        new = len(forward.token_ids)
        total = past.tokens + new
        if not np.array_equal(forward.visible, np.tri(new, total, past.tokens, dtype=np.bool_)):
            raise ValueError("a graph of optimum reads sequences: every token sees all that come before it")
        inputs: dict[str, Array] = {
            "input_ids": forward.token_ids[None],
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": forward.positions[None],
        }
        inputs.update(zip(cache_names("past_key_values", self.dimensions.layers), past.arrays, strict=True))
        logits, *present = self._session.run(
            ["logits", *cache_names("present", self.dimensions.layers)], inputs
        )
        return logits[0][np.ix_(forward.select, forward.candidates)], HostCache(tuple(present))
