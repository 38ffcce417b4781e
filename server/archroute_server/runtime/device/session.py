"""DeviceSession: a bundle's graph on a device whose memory holds the KV cache."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import onnxruntime as ort

from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.runtime.device.attention_bias import AttentionBias
from archroute_server.runtime.device.bound_pass import BoundPass
from archroute_server.runtime.device.cache import DeviceCache, Lease
from archroute_server.runtime.device.cache_copies import CacheCopies
from archroute_server.runtime.device.memory import DeviceMemory, TokenBlock
from archroute_server.runtime.diagnosis import make_ready
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.inference_session import graph_float_type, load_graph
from archroute_server.runtime.kv_cache import KeyValueCache
from archroute_server.runtime.providers import Provider
from archroute_server.runtime.shape_buckets import Shape

_logger = logging.getLogger(__name__)

# What asks a provider for CUDA graphs, by ONNX Runtime's name of it; see "Using CUDA Graphs" in
# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html. Others, TensorRT among them, do
# not know one graph from another by its `gpu_graph_id` (microsoft/onnxruntime pull request #19636).
_CAPTURE_OPTIONS = {"CUDAExecutionProvider": {"enable_cuda_graph": "1"}}


class DeviceSession:
    """Runs forward passes, one at a time, as `Session` does, with the KV cache in the device's memory.

    A pass that fits one of the provider's `shape_buckets` is padded to it and runs in memory that is kept
    for it. All buckets share the memory of keys and values, which is as large as the largest takes, and those
    of as many tokens share the attention bias. Where the provider captures CUDA graphs, a bucket is captured
    the first time that it is used, for which ONNX Runtime runs the pass several times, and replayed from then
    on.

    A pass that fits none costs what these save: it is bound to memory of its own, each time, and never
    captured. Cached and new tokens are then padded to a multiple of the provider's `shape_bucket`.

    What a pass returns must be read, or copied with `slice`, before the next pass; see `DeviceCache`.
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
        self.provider = provider
        self.dimensions = dimensions
        self._session, self._capturing = _load(graph, provider, threads, options)
        self._memory = DeviceMemory(
            provider.device,
            2 * dimensions.layers,
            dimensions.key_value_heads,
            dimensions.head_size,
            graph_float_type(self._session),
        )
        self._copies = CacheCopies(self._memory)
        self._buckets = provider.shape_buckets
        self._kept: dict[Shape, BoundPass] = {}
        self._graphs = 0
        self._not_capturable: set[Shape] = set()
        self._biases: dict[tuple[int, int], AttentionBias] = {}
        self._lease = Lease()
        if self._buckets is not None:
            cached, new = self._buckets.cached, self._buckets.new
            self._zeros = self._memory.zeros(max((b - a for a, b in pairwise(cached)), default=0))
            self._past = self._memory.block(cached[-1])
            self._present = self._memory.block(cached[-1] + new[-1])

    def empty_cache(self) -> KeyValueCache:
        """Return a cache of no tokens."""
        return DeviceCache(self._memory, self._copies, self._memory.block(0), 0, 0)

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """Run one forward pass: logits `[M, C]`, and the cache of all P + N tokens."""
        assert isinstance(past, DeviceCache)
        # Kernels disagree on what to do with no rows; where none is wanted, one is read and thrown away.
        rows = max(1, len(forward.select))
        shape = Shape(past.tokens, len(forward.token_ids), rows, len(forward.candidates))
        bucket = self._buckets.fit(shape) if self._buckets is not None else None
        if bucket is None:
            return self._run_once(shape, forward, past)
        return self._run_kept(bucket, forward, past)

    def _run_once(self, shape: Shape, forward: Forward, past: DeviceCache) -> tuple[Floats, DeviceCache]:
        total = shape.cached + shape.new
        padded = replace(shape, new=shape.new + -total % self.provider.shape_bucket)
        present = self._memory.block(padded.cached + padded.new)
        bias = AttentionBias(self._memory, padded.cached, padded.new)
        bound = BoundPass(self._session, self._memory, padded, past.whole_block(), present, bias)
        logits = bound.run(forward)
        return logits, DeviceCache(self._memory, self._copies, present, 0, total)

    def _run_kept(self, bucket: Shape, forward: Forward, past: DeviceCache) -> tuple[Floats, DeviceCache]:
        bound = self._kept.get(bucket) or self._keep(bucket)
        left = bucket.cached - past.tokens
        # Zeros, and not what an earlier pass left there: a hidden value still counts if it is not a number.
        padding = TokenBlock(self._zeros.memory, left)
        self._copies.concatenate_into(bound.past, [padding, past.whole_block()])
        self._lease.ended = True
        try:
            logits = bound.run(forward)
        except Exception as error:
            if not bound.captured:
                raise
            self._give_up_capturing(bucket, error)
            bound = self._keep(bucket)
            logits = bound.run(forward)
        self._lease = Lease()
        total = past.tokens + len(forward.token_ids)
        return logits, DeviceCache(self._memory, self._copies, bound.present, left, total, self._lease)

    def _keep(self, bucket: Shape) -> BoundPass:
        past = TokenBlock(self._past.memory, bucket.cached)
        present = TokenBlock(self._present.memory, bucket.cached + bucket.new)
        graph_id = None
        if self._capturing and bucket not in self._not_capturable:
            # ONNX Runtime keeps 0 for itself, and forgets no number.
            self._graphs += 1
            graph_id = self._graphs
        # The largest of the inputs by far, and the same whatever is read of the pass.
        tokens = (bucket.cached, bucket.new)
        if tokens not in self._biases:
            self._biases[tokens] = AttentionBias(self._memory, *tokens)
        bound = BoundPass(self._session, self._memory, bucket, past, present, self._biases[tokens], graph_id)
        self._kept[bucket] = bound
        return bound

    def _give_up_capturing(self, bucket: Shape, error: Exception) -> None:
        _logger.warning("a forward pass cannot be captured as a CUDA graph: %s; %s", bucket, error)
        self._not_capturable.add(bucket)
        del self._kept[bucket]


def _load(
    graph: Path, provider: Provider, threads: int, options: Mapping[str, str]
) -> tuple[ort.InferenceSession, bool]:
    """Load the graph; say whether the provider captures CUDA graphs of it.

    ONNX Runtime refuses to where a node of the graph would not run on the provider: of this project's graphs
    none does on CUDA, since they compute no shapes.
    """
    if provider.graph_capture:
        # A provider that cannot run at all is not for want of CUDA graphs.
        make_ready(provider)
        capturing = {**options, **_CAPTURE_OPTIONS.get(provider.onnxruntime_name, {})}
        try:
            return load_graph(graph, provider, threads, capturing), True
        except RuntimeLoadError as error:
            _logger.warning("the %s provider runs without CUDA graphs: %s", provider.name, error)
    return load_graph(graph, provider, threads, options), False
