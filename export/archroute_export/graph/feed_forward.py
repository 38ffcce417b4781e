"""The gated feed-forward block (SwiGLU)."""

import numpy as np
import onnx_ir as ir

from archroute_export.checkpoint.tensors import Tensors
from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.precision import Precision, Scaled
from archroute_export.graph.weights import Floats


def feed_forward(
    builder: GraphBuilder, precision: Precision, tensors: Tensors, layer: int, hidden: ir.Value
) -> ir.Value:
    """Emit `down(silu(gate(x)) * up(x))` on normalized `hidden [1, N, H]`.

    hidden ─ gate and up (one product) ─ Split ─┬─ gate ─┬─ Sigmoid ─ Mul ─┐
                                                │        └──────────────┘  Mul ─ down_proj ─ out
                                                └─ up ─────────────────────┘
    """
    shape = tensors.shape
    name = f"layers.{layer}/feed_forward"
    width = shape.intermediate_size
    projected = precision.linear(
        builder,
        f"{name}/gate_up",
        Scaled(hidden),
        lambda: _gate_and_up(tensors, layer).T,
        (shape.hidden_size, 2 * width),
    )
    gate, up = builder.op(
        f"{name}/gate_up",
        "Split",
        [projected.value, builder.constant([width, width], ir.DataType.INT64)],
        {"axis": -1},
        outputs=2,
    )
    # Only the gate needs its scale now: silu is not linear. That of `up` is carried through the product.
    gate = Scaled(gate, projected.scale).settle(builder, f"{name}/gate")
    # ONNX Runtime fuses x * sigmoid(x) into one pass.
    activated = builder.one(f"{name}/silu", "Mul", [gate, builder.one(f"{name}/silu", "Sigmoid", [gate])])
    return precision.linear(
        builder,
        f"{name}/down",
        Scaled(builder.one(f"{name}/gated", "Mul", [activated, up]), projected.scale),
        lambda: tensors.tensor(f"model.layers.{layer}.mlp.down_proj.weight").T,
        (width, shape.hidden_size),
    ).settle(builder, f"{name}/down")


def _gate_and_up(tensors: Tensors, layer: int) -> Floats:
    prefix = f"model.layers.{layer}.mlp"
    return np.concatenate([tensors.tensor(f"{prefix}.{name}_proj.weight") for name in ("gate", "up")])
