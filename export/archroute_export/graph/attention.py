"""The attention block: projections, rotary embedding, attention over the KV cache."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from archroute_export.checkpoint.shape import ModelShape
from archroute_export.checkpoint.tensors import Tensors
from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.precision import MakeFloats, Precision, Scaled
from archroute_export.graph.weights import Floats


@dataclass(frozen=True, slots=True)
class AttentionInputs:
    """What every layer's attention shares."""

    position_ids: ir.Value
    attention_bias: ir.Value
    cosines: ir.Value
    sines: ir.Value


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One layer's keys and values, each `[1, key_value_heads, tokens, head_size]`."""

    key: ir.Value
    value: ir.Value


def attention(
    builder: GraphBuilder,
    precision: Precision,
    tensors: Tensors,
    layer: int,
    hidden: ir.Value,
    shared: AttentionInputs,
    past: KeyValue,
    select: ir.Value | None,
) -> tuple[ir.Value, KeyValue]:
    """Emit one attention block on normalized `hidden [1, N, H]`; return its output and the grown cache.

    With `select [M]`, only those rows of the output are computed: `[1, M, H]`.

    hidden ─ qkv (one product) ─ Split ─┬─ q ─ RotaryEmbedding ─┐
                                        ├─ k ─ RotaryEmbedding ─┼─ Attention ─ o_proj ─ out
                                        └─ v ───────────────────┘   │   │
                                         past key, value, bias ─────┘   └─ present key, value
    """
    shape = tensors.shape
    name = f"layers.{layer}/attention"
    widths = _widths(shape)
    projected = precision.linear(
        builder,
        f"{name}/qkv",
        Scaled(hidden),
        lambda: _projections(tensors, layer, "weight").T,
        (shape.hidden_size, sum(widths)),
    ).settle(builder, f"{name}/qkv")
    if shape.attention_bias:
        projected = _add_bias(
            builder,
            precision,
            f"{name}/qkv",
            projected,
            lambda: _projections(tensors, layer, "bias"),
            sum(widths),
        )
    query, key, value = builder.op(
        f"{name}/qkv",
        "Split",
        [projected, builder.constant(widths, ir.DataType.INT64)],
        {"axis": -1},
        outputs=3,
    )
    heads = shape.attention_heads
    key_value_heads = shape.key_value_heads
    query = _rotate(builder, f"{name}/query", query, shared, heads)
    key = _rotate(builder, f"{name}/key", key, shared, key_value_heads)
    mixed, present_key, present_value = builder.op(
        name,
        "Attention",
        [query, key, value, shared.attention_bias, past.key, past.value],
        {
            "q_num_heads": heads,
            "kv_num_heads": key_value_heads,
            "scale": shape.head_size**-0.5,
            "softmax_precision": int(ir.DataType.FLOAT),
        },
        outputs=3,
    )
    if select is not None:
        mixed = builder.one(f"{name}/select", "Gather", [mixed, select], {"axis": 1})
    output = precision.linear(
        builder,
        f"{name}/output",
        Scaled(mixed),
        lambda: tensors.tensor(f"model.layers.{layer}.self_attn.o_proj.weight").T,
        (heads * shape.head_size, shape.hidden_size),
    ).settle(builder, f"{name}/output")
    output_bias = f"model.layers.{layer}.self_attn.o_proj.bias"
    if output_bias in tensors.tensor_names:
        output = _add_bias(
            builder,
            precision,
            f"{name}/output",
            output,
            lambda: tensors.tensor(output_bias),
            shape.hidden_size,
        )
    return output, KeyValue(present_key, present_value)


def _rotate(
    builder: GraphBuilder, name: str, states: ir.Value, shared: AttentionInputs, heads: int
) -> ir.Value:
    return builder.one(
        name,
        "RotaryEmbedding",
        [states, shared.cosines, shared.sines, shared.position_ids],
        {"num_heads": heads},
    )


def _add_bias(
    builder: GraphBuilder, precision: Precision, name: str, product: ir.Value, make: MakeFloats, width: int
) -> ir.Value:
    target = precision.activations
    bias = builder.weight(f"{name}.bias", lambda: make().astype(target.numpy()), target, [width])
    return builder.one(name, "Add", [product, bias])


def _widths(shape: ModelShape) -> list[int]:
    key_value = shape.key_value_heads * shape.head_size
    return [shape.attention_heads * shape.head_size, key_value, key_value]


def _projections(tensors: Tensors, layer: int, part: str) -> Floats:
    prefix = f"model.layers.{layer}.self_attn"
    return np.concatenate([tensors.tensor(f"{prefix}.{name}_proj.{part}") for name in ("q", "k", "v")])
