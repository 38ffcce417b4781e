"""Session: one ONNX Runtime session over a bundle's graph."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime as ort

from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.runtime.forward import Floats, Forward, hidden_score
from archroute_server.runtime.host_cache import Array, HostCache
from archroute_server.runtime.inference_session import graph_float_type, load_graph
from archroute_server.runtime.kv_cache import KeyValueCache, cache_names
from archroute_server.runtime.providers import Provider


class Session:
    """Runs forward passes, one at a time: ONNX Runtime uses all threads for each.

    `run` releases the GIL while the model runs, so it belongs on a thread of its own.
    """

    tree_attention = True

    def __init__(
        self,
        graph: Path,
        dimensions: ModelDimensions,
        provider: Provider,
        threads: int,
        options: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Load the graph; see `load_graph`."""
        self._session = load_graph(graph, provider, threads, options)
        self.provider = provider
        self.dimensions = dimensions
        self._float_type = graph_float_type(self._session)
        self._hidden = hidden_score(self._float_type)
        self._binding = self._session.io_binding()

    def empty_cache(self) -> KeyValueCache:
        """Return a cache of no tokens."""
        return HostCache(tuple(self._cache_array(0) for _ in range(2 * self.dimensions.layers)))

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """Run one forward pass: logits `[M, C]`, and the cache of all P + N tokens.

        The past is read where it lies, and the graph writes into the arrays that are returned.
        """
        assert isinstance(past, HostCache)
        new = len(forward.token_ids)
        total = past.tokens + new
        bias = np.where(forward.visible, self._float_type.type(0), self._hidden)
        # Kernels disagree on what to do with no rows; where none is wanted, one is read and thrown away.
        select = forward.select if len(forward.select) else np.zeros(1, np.int64)
        logits = np.empty((len(select), len(forward.candidates)), np.float32)
        present = HostCache(tuple(self._cache_array(total) for _ in past.arrays))
        inputs: dict[str, Array] = {
            "input_ids": forward.token_ids[None],
            "position_ids": forward.positions[None],
            "attention_bias": bias[None, None],
            "select": select,
            "candidates": forward.candidates,
        }
        inputs.update(zip(cache_names("past", self.dimensions.layers), past.arrays, strict=True))
        outputs: dict[str, Array] = {"logits": logits}
        outputs.update(zip(cache_names("present", self.dimensions.layers), present.arrays, strict=True))
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, array in outputs.items():
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
        self._session.run_with_iobinding(self._binding)
        return logits[: len(forward.select)], present

    def _cache_array(self, tokens: int) -> Array:
        sizes = (1, self.dimensions.key_value_heads, tokens, self.dimensions.head_size)
        return np.empty(sizes, self._float_type)
