"""The whole decoder graph and its contract of inputs and outputs."""

import onnx_ir as ir

from archroute_export.checkpoint.shape import ModelShape
from archroute_export.checkpoint.tensors import Tensors
from archroute_export.graph.attention import AttentionInputs, KeyValue, attention
from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.feed_forward import feed_forward
from archroute_export.graph.float_precision import FloatPrecision
from archroute_export.graph.int4_precision import Int4Precision
from archroute_export.graph.int8_precision import Int8Precision
from archroute_export.graph.precision import Precision
from archroute_export.graph.rotary import rotary_tables

PRECISIONS: dict[str, Precision] = {
    "fp32": FloatPrecision(ir.DataType.FLOAT),
    "fp16": FloatPrecision(ir.DataType.FLOAT16),
    "int8": Int8Precision(),
    "int4": Int4Precision(),
}


def build_decoder(tensors: Tensors, precision: Precision) -> ir.Model:
    """Build the graph that computes the logits of candidate tokens at selected positions.

    Inputs, where N = new tokens, P = tokens in the cache, M = selected rows, C = candidates:
        input_ids       int64 [1, N]
        position_ids    int64 [1, N]           position of each token in its own sequence
        attention_bias  float [1, 1, N, P + N] added to the scores; a large negative number hides a token
        select          int64 [M]              which of the N rows to compute logits for, one or more
        candidates      int64 [C]              which tokens of the vocabulary to compute logits for
        past.{layer}.key, past.{layer}.value          float [1, key_value_heads, P, head_size]
    Outputs:
        logits          float32 [M, C]
        present.{layer}.key, present.{layer}.value    float [1, key_value_heads, P + N, head_size]
    `float` is float16 for an fp16 graph, float32 otherwise.

    input_ids ─ embedding ─┬─ norm ─ attention ─ Add ─┬─ norm ─ feed_forward ─ Add ─ … ─ select ─ norm ─ head
                           └──────────────────────────┘ └──────────────────────┘      candidates ─┘
    """
    shape = tensors.shape
    builder = GraphBuilder()
    inputs = _Inputs(shape, precision.activations)
    embedding = precision.table(
        builder,
        "embedding",
        lambda: tensors.tensor("model.embed_tokens.weight"),
        (shape.vocabulary_size, shape.hidden_size),
    )
    cosines, sines = rotary_tables(builder, precision, shape)
    shared = AttentionInputs(inputs.position_ids, inputs.attention_bias, cosines, sines)
    hidden = embedding.rows(builder, "embedding", inputs.input_ids)
    presents: list[KeyValue] = []
    for layer, past in enumerate(inputs.pasts):
        name = f"layers.{layer}"
        source = f"model.layers.{layer}"
        normalized = _norm(
            builder, precision, tensors, f"{name}/input_norm", hidden, f"{source}.input_layernorm.weight"
        )
        # Behind the last layer's attention nothing but the selected rows is read.
        select = inputs.select if layer == shape.layers - 1 else None
        mixed, present = attention(builder, precision, tensors, layer, normalized, shared, past, select)
        presents.append(present)
        if select is not None:
            hidden = builder.one("select", "Gather", [hidden, select], {"axis": 1})
        hidden = builder.one(f"{name}/attention/residual", "Add", [hidden, mixed])
        normalized = _norm(
            builder,
            precision,
            tensors,
            f"{name}/feed_forward_norm",
            hidden,
            f"{source}.post_attention_layernorm.weight",
        )
        transformed = feed_forward(builder, precision, tensors, layer, normalized)
        hidden = builder.one(f"{name}/feed_forward/residual", "Add", [hidden, transformed])
    normalized = _norm(builder, precision, tensors, "norm", hidden, "model.norm.weight")
    head = embedding
    if not shape.tied_head:
        head = precision.table(
            builder,
            "head",
            lambda: tensors.tensor("lm_head.weight"),
            (shape.vocabulary_size, shape.hidden_size),
        )
    columns = head.rows(builder, "candidates", inputs.candidates)
    # [M, H] x [C, H] transposed: the candidates' columns of the head and no others.
    flat = builder.one("head", "Squeeze", [normalized, builder.constant([0], ir.DataType.INT64)])
    if precision.activations != ir.DataType.FLOAT:
        flat = builder.one("head/row", "Cast", [flat], {"to": int(ir.DataType.FLOAT)})
        columns = builder.one("head/column", "Cast", [columns], {"to": int(ir.DataType.FLOAT)})
    logits = builder.one("head", "Gemm", [flat, columns], {"transB": 1})
    return builder.finish(
        shape.family, inputs.all(), _outputs(logits, presents, precision.activations, shape)
    )


class _Inputs:
    """The graph's inputs, named and shaped as `build_decoder` says."""

    def __init__(self, shape: ModelShape, activations: ir.DataType) -> None:
        integer = ir.DataType.INT64
        self.input_ids = _tensor("input_ids", integer, [1, "N"])
        self.position_ids = _tensor("position_ids", integer, [1, "N"])
        self.attention_bias = _tensor("attention_bias", activations, [1, 1, "N", "P+N"])
        self.select = _tensor("select", integer, ["M"])
        self.candidates = _tensor("candidates", integer, ["C"])
        self.pasts = [_cache("past", layer, activations, shape, "P") for layer in range(shape.layers)]

    def all(self) -> list[ir.Value]:
        """Return every input in the order of the contract."""
        caches = [value for past in self.pasts for value in (past.key, past.value)]
        return [
            self.input_ids,
            self.position_ids,
            self.attention_bias,
            self.select,
            self.candidates,
            *caches,
        ]


def _outputs(
    logits: ir.Value, presents: list[KeyValue], activations: ir.DataType, shape: ModelShape
) -> list[ir.Value]:
    logits.name = "logits"
    logits.type = ir.TensorType(ir.DataType.FLOAT)
    logits.shape = ir.Shape(["M", "C"])
    outputs = [logits]
    for layer, present in enumerate(presents):
        declared = _cache("present", layer, activations, shape, "P+N")
        for value, declaration in ((present.key, declared.key), (present.value, declared.value)):
            value.name, value.type, value.shape = declaration.name, declaration.type, declaration.shape
            outputs.append(value)
    return outputs


def _cache(side: str, layer: int, activations: ir.DataType, shape: ModelShape, tokens: str) -> KeyValue:
    dimensions: list[int | str] = [1, shape.key_value_heads, tokens, shape.head_size]
    return KeyValue(
        _tensor(f"{side}.{layer}.key", activations, dimensions),
        _tensor(f"{side}.{layer}.value", activations, dimensions),
    )


def _tensor(name: str, dtype: ir.DataType, dimensions: list[int | str]) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(dimensions))


def _norm(
    builder: GraphBuilder,
    precision: Precision,
    tensors: Tensors,
    name: str,
    hidden: ir.Value,
    tensor: str,
) -> ir.Value:
    scale = builder.weight(
        f"{name}.weight",
        lambda: tensors.tensor(tensor).astype(precision.activations.numpy()),
        precision.activations,
        [tensors.shape.hidden_size],
    )
    # The mean of squares is taken in float32 whatever the activations are (stash_type 1).
    attributes = {"axis": -1, "epsilon": tensors.shape.norm_epsilon, "stash_type": 1}
    return builder.one(name, "RMSNormalization", [hidden, scale], attributes)
