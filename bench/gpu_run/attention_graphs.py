"""Graphs of nothing but attention, one node a layer, for each operator that could do it.

    query ─ Attention ─ … ─ Attention ─ output      each layer reads the output of the one before as its
              │   │            │   │                query, and has a past of its own
     past.0.key   past.0.value  …

ONNX: Attention, opset 23. com.microsoft: GroupQueryAttention and PagedAttention, which ONNX Runtime's
ContribOperators.md describes. N tokens are read on top of P cached ones, and each sees those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[np.generic]

STANDARD = "Attention with bias"
GROUPED = "GroupQueryAttention without bias"
GROUPED_IN_PLACE = "GroupQueryAttention without bias, cache in place"
GROUPED_BIASED = "GroupQueryAttention with bias"
PAGED = "PagedAttention"
OPERATORS = (STANDARD, GROUPED, GROUPED_IN_PLACE, GROUPED_BIASED, PAGED)

ON_HOST = frozenset({"total_sequence_length", "attention_metadata"})
"""Inputs that ONNX Runtime's CUDA kernels read from the host's memory."""

# What the paged kernels of flash attention ask for: a multiple of 256 tokens in each block.
PAGE_TOKENS = 256
_HIDDEN = -3e4
_OPSET = 23
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class AttentionShape:
    """N new tokens on top of P cached ones, in `layers` layers."""

    new: int
    cached: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int


@dataclass(frozen=True)
class Inputs:
    """The same numbers for every operator, in the type that the model computes in.

    `query [N, heads * head_size]`, `key` and `value [N, key_value_heads * head_size]`, and for each layer
    `pasts`, a pair of `[key_value_heads, P, head_size]`.
    """

    query: Array
    key: Array
    value: Array
    pasts: Sequence[tuple[Array, Array]]

    @classmethod
    def draw(cls, shape: AttentionShape, dtype: type[np.floating]) -> "Inputs":
        """Draw random numbers."""
        random = np.random.default_rng(0)

        def normal(*size: int) -> Array:
            return random.standard_normal(size, np.float32).astype(dtype)

        width = shape.key_value_heads * shape.head_size
        past = (shape.key_value_heads, shape.cached, shape.head_size)
        return cls(
            normal(shape.new, shape.heads * shape.head_size),
            normal(shape.new, width),
            normal(shape.new, width),
            [(normal(*past), normal(*past)) for _ in range(shape.layers)],
        )


@dataclass(frozen=True)
class AttentionGraph:
    """A serialized model, what to feed it, and the sizes of its outputs.

    `in_place` maps outputs to the inputs whose memory they share.
    """

    model: bytes
    feeds: dict[str, Array]
    outputs: dict[str, Sequence[int]]
    in_place: dict[str, str]


def build(operator: str, shape: AttentionShape, inputs: Inputs) -> AttentionGraph:
    """Build the graph of an operator. Its first output is `output [(1,) N, heads * head_size]`."""
    return (
        _Paged(shape, inputs).build() if operator == PAGED else _Contiguous(operator, shape, inputs).build()
    )


def expected(shape: AttentionShape, inputs: Inputs) -> npt.NDArray[np.float32]:
    """Return what one layer computes, in float32: `[N, heads * head_size]`."""
    new, heads, size = shape.new, shape.heads, shape.head_size
    past_key, past_value = (past.astype(np.float32) for past in inputs.pasts[0])
    query = inputs.query.astype(np.float32).reshape(new, heads, size)
    key, value = (
        np.concatenate([past, fresh.astype(np.float32).reshape(new, -1, size).swapaxes(0, 1)], axis=1)
        for past, fresh in ((past_key, inputs.key), (past_value, inputs.value))
    )
    group = heads // shape.key_value_heads
    key, value = np.repeat(key, group, axis=0), np.repeat(value, group, axis=0)
    scores = np.einsum("nhd,htd->hnt", query, key) * np.float32(size**-0.5)
    scores = np.where(_visible(shape), scores, np.float32(-np.inf))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.einsum("hnt,htd->nhd", scores, value).reshape(new, heads * size)


def _visible(shape: AttentionShape) -> npt.NDArray[np.bool_]:
    return np.tri(shape.new, shape.cached + shape.new, shape.cached, dtype=np.bool_)


class _Builder:
    """Collects what the graphs have in common."""

    def __init__(self, shape: AttentionShape, inputs: Inputs) -> None:
        self.shape = shape
        self.inputs = inputs
        self.feeds: dict[str, Array] = {}
        self.in_place: dict[str, str] = {}
        self.values: dict[str, ir.Value] = {}
        self.nodes: list[ir.Node] = []
        self.outputs: list[ir.Value] = []
        self.sizes: dict[str, Sequence[int]] = {}

    def feed(self, name: str, array: Array, sizes: Sequence[int | str] | None = None) -> ir.Value:
        """Make an input of the graph, of the array's own sizes unless others are declared."""
        kind = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        self.feeds[name] = array
        self.values[name] = ir.Value(name=name, shape=ir.Shape(sizes or array.shape), type=kind)
        return self.values[name]

    def finish(self, name: str, output: ir.Value, size: Sequence[int]) -> AttentionGraph:
        self._declare(output, "output", size)
        graph = ir.Graph(
            list(self.values.values()),
            [output, *self.outputs],
            nodes=self.nodes,
            opset_imports={"": _OPSET, _MICROSOFT: 1},
            name=name,
        )
        model: bytes = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
        return AttentionGraph(model, self.feeds, self.sizes, self.in_place)

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: dict[str, int | float],
        presents: Sequence[tuple[str, Sequence[int]]],
        domain: str,
    ) -> ir.Value:
        """Add a node, whose outputs behind the first are outputs of the graph, and return the first."""
        node = ir.node(operator, inputs, attributes=attributes, domain=domain, num_outputs=1 + len(presents))
        output, *others = node.outputs
        output.name = f"{operator}.{len(self.nodes)}"
        for value, (name, size) in zip(others, presents, strict=True):
            self._declare(value, name, size)
            self.outputs.append(value)
        self.nodes.append(node)
        return output

    def _declare(self, output: ir.Value, name: str, size: Sequence[int]) -> None:
        """Make a value an output; its sizes are left for ONNX Runtime to infer."""
        output.name = name
        output.type = ir.TensorType(ir.DataType.from_numpy(self.inputs.query.dtype))
        self.sizes[name] = size


class _Contiguous(_Builder):
    """Attention and GroupQueryAttention, which read a past and write it longer."""

    def __init__(self, operator: str, shape: AttentionShape, inputs: Inputs) -> None:
        super().__init__(shape, inputs)
        self._operator = operator

    def build(self) -> AttentionGraph:
        shape, inputs = self.shape, self.inputs
        total = shape.cached + shape.new
        query, key, value = (
            self.feed(name, array[None])
            for name, array in (("query", inputs.query), ("key", inputs.key), ("value", inputs.value))
        )
        bias = None
        if self._operator in (STANDARD, GROUPED_BIASED):
            hidden = np.where(_visible(shape), 0, _HIDDEN).astype(inputs.query.dtype)
            bias = self.feed("attention_bias", hidden[None, None])
        lengths: list[ir.Value] = []
        if self._operator != STANDARD:
            lengths = [
                self.feed("seqlens_k", np.array([total - 1], np.int32)),
                self.feed("total_sequence_length", np.array([total], np.int32)),
            ]
        size = (1, shape.key_value_heads, total, shape.head_size)
        for layer, past in enumerate(inputs.pasts):
            pasts, presents = [], []
            for part, array in zip(("key", "value"), past, strict=True):
                if self._operator == GROUPED_IN_PLACE:
                    # Room for the new tokens, which the operator writes behind the cached ones.
                    array = np.pad(array, ((0, 0), (0, shape.new), (0, 0)))
                    self.in_place[f"present.{layer}.{part}"] = f"past.{layer}.{part}"
                # Were the tokens declared, ONNX Runtime would infer that GroupQueryAttention adds none.
                sizes = (1, shape.key_value_heads, "P", shape.head_size)
                pasts.append(self.feed(f"past.{layer}.{part}", array[None], sizes))
                presents.append((f"present.{layer}.{part}", size))
            if self._operator == STANDARD:
                # As the model's own graph has it.
                attributes: dict[str, int | float] = {
                    "q_num_heads": shape.heads,
                    "kv_num_heads": shape.key_value_heads,
                    "scale": shape.head_size**-0.5,
                    "softmax_precision": int(ir.DataType.FLOAT),
                }
                query = self.node("Attention", [query, key, value, bias, *pasts], attributes, presents, "")
            else:
                attributes = {"num_heads": shape.heads, "kv_num_heads": shape.key_value_heads}
                read: list[ir.Value | None] = [query, key, value, *pasts, *lengths]
                if bias is not None:
                    # Behind cos_cache, sin_cache and position_ids.
                    read += [None, None, None, bias]
                query = self.node("GroupQueryAttention", read, attributes, presents, _MICROSOFT)
        return self.finish(self._operator, query, (1, shape.new, shape.heads * shape.head_size))


class _Paged(_Builder):
    """PagedAttention, which writes into its cache in place."""

    def build(self) -> AttentionGraph:
        shape, inputs = self.shape, self.inputs
        total = shape.cached + shape.new
        pages = -(-total // PAGE_TOKENS)
        query = self.feed("query", inputs.query)
        key, value = self.feed("key", inputs.key), self.feed("value", inputs.value)
        described = [
            self.feed("cumulative_sequence_length", np.array([0, shape.new], np.int32)),
            self.feed("past_seqlens", np.array([shape.cached], np.int32)),
            self.feed("block_table", np.arange(pages, dtype=np.int32)[None]),
        ]
        # The most new tokens of a sequence, and the most tokens in all: without these bounds the operator
        # reads them back from the device, which it waits for.
        bounds = self.feed("attention_metadata", np.array([shape.new, total], np.int32))
        size = (pages, PAGE_TOKENS, shape.key_value_heads, shape.head_size)
        for layer, past in enumerate(inputs.pasts):
            caches, presents = [], []
            for part, array in zip(("key", "value"), past, strict=True):
                cache = np.zeros((pages * PAGE_TOKENS, *size[2:]), array.dtype)
                cache[: shape.cached] = array.swapaxes(0, 1)
                caches.append(self.feed(f"past.{layer}.{part}", cache.reshape(size)))
                presents.append((f"present.{layer}.{part}", size))
                self.in_place[f"present.{layer}.{part}"] = f"past.{layer}.{part}"
            # Between them: cosines, sines, slots, sinks, weights of norms, and scales of a quantized cache.
            read = [query, key, value, *caches, *described, *[None] * 8, bounds]
            attributes: dict[str, int | float] = {
                "num_heads": shape.heads,
                "kv_num_heads": shape.key_value_heads,
            }
            query = self.node("PagedAttention", read, attributes, presents, _MICROSOFT)
        return self.finish(PAGED, query, (shape.new, shape.heads * shape.head_size))
