"""Int8Precision: 8-bit weights and activations, the recipe for CPUs."""

import onnx_ir as ir

from archroute_export.graph.builder import MICROSOFT, GraphBuilder
from archroute_export.graph.precision import MakeFloats, Scaled, Table
from archroute_export.graph.weights import Shared, quantize_columns, quantize_rows


class Int8Precision:
    """8-bit weights, activations quantized at run time with one scale a token (W8A8).

    One scale for the whole tensor is unusable: a few tokens have activations hundreds of times
    larger than the rest.

        hidden ─┬─ Abs ─ ReduceMax ─ Mul ─┬──────────────────────────── scale ─┐
                └──────────────────── QuantizeLinear ─ MatMulIntegerToFloat ─ Scaled
    """

    activations = ir.DataType.FLOAT
    quantizes_activations = True

    def linear(
        self,
        builder: GraphBuilder,
        name: str,
        hidden: Scaled,
        make: MakeFloats,
        shape: tuple[int, int],
    ) -> Scaled:
        """See `Precision.linear`."""
        quantized, scale = self._quantize(builder, f"{name}/quantize", hidden)
        columns = Shared(lambda: quantize_columns(make()))
        weight = builder.weight(f"{name}.weight", lambda: columns.get().values, ir.DataType.UINT8, shape)
        scales = builder.weight(f"{name}.scales", lambda: columns.take().scales, ir.DataType.FLOAT, shape[1:])
        zero_point = builder.constant(128, ir.DataType.UINT8)
        unit = builder.constant(1.0, ir.DataType.FLOAT)
        product = builder.one(
            name,
            "MatMulIntegerToFloat",
            [quantized, weight, unit, scales, zero_point, zero_point],
            domain=MICROSOFT,
        )
        return Scaled(product, scale)

    def table(self, builder: GraphBuilder, name: str, make: MakeFloats, shape: tuple[int, int]) -> Table:
        """See `Precision.table`."""
        rows = Shared(lambda: quantize_rows(make()))
        values = builder.weight(f"{name}.weight", lambda: rows.get().values, ir.DataType.INT8, shape)
        scales = builder.weight(f"{name}.scales", lambda: rows.take().scales, ir.DataType.FLOAT, shape[:1])
        return _Int8Table(values, scales)

    def _quantize(self, builder: GraphBuilder, name: str, hidden: Scaled) -> tuple[ir.Value, ir.Value]:
        """Quantize `[1, N, K]` token by token: unsigned bytes `[1, N, K]` and scales `[1, N, 1]`.

        A token of zeros has scale zero: whatever its bytes are, multiplied by that they are zeros again.
        """
        last_axis = builder.constant([-1], ir.DataType.INT64)
        extreme = builder.one(name, "ReduceMax", [builder.one(name, "Abs", [hidden.value]), last_axis])
        scale = builder.one(name, "Mul", [extreme, builder.constant(1 / 127, ir.DataType.FLOAT)])
        token_scales = builder.one(name, "Reshape", [scale, last_axis])
        zero_points = builder.one(
            name,
            "Expand",
            [builder.constant(128, ir.DataType.UINT8), builder.one(name, "Shape", [token_scales])],
        )
        quantized = builder.one(
            name, "QuantizeLinear", [hidden.value, token_scales, zero_points], {"axis": 1}
        )
        if hidden.scale is not None:
            scale = builder.one(f"{name}/carried", "Mul", [scale, hidden.scale])
        return quantized, scale


class _Int8Table:
    """Rows are looked up as bytes and scaled on the fly, so the table is never held in float."""

    def __init__(self, values: ir.Value, scales: ir.Value) -> None:
        self._values = values
        self._scales = scales

    def rows(self, builder: GraphBuilder, name: str, ids: ir.Value) -> ir.Value:
        """See `Table.rows`."""
        values = builder.one(f"{name}/values", "Gather", [self._values, ids])
        scales = builder.one(f"{name}/scales", "Gather", [self._scales, ids])
        scales = builder.one(name, "Unsqueeze", [scales, builder.constant([-1], ir.DataType.INT64)])
        floats = builder.one(name, "Cast", [values], {"to": int(ir.DataType.FLOAT)})
        return builder.one(name, "Mul", [floats, scales])
