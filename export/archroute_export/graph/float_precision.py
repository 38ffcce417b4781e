"""FloatPrecision: weights and activations in one float type."""

from collections.abc import Sequence

import onnx_ir as ir

from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.precision import MakeFloats, Scaled, Table


class FloatPrecision:
    """Weights and activations in one float type; the CPU, CUDA and TensorRT providers all take it."""

    quantizes_activations = False

    def __init__(self, activations: ir.DataType) -> None:
        self.activations = activations

    def linear(
        self,
        builder: GraphBuilder,
        name: str,
        hidden: Scaled,
        make: MakeFloats,
        shape: tuple[int, int],
    ) -> Scaled:
        """See `Precision.linear`."""
        weight = self._weight(builder, name, make, shape)
        return Scaled(builder.one(name, "MatMul", [hidden.settle(builder, name), weight]))

    def table(self, builder: GraphBuilder, name: str, make: MakeFloats, shape: tuple[int, int]) -> Table:
        """See `Precision.table`."""
        return _FloatTable(self._weight(builder, name, make, shape))

    def _weight(self, builder: GraphBuilder, name: str, make: MakeFloats, shape: Sequence[int]) -> ir.Value:
        target = self.activations.numpy()
        return builder.weight(f"{name}.weight", lambda: make().astype(target), self.activations, shape)


class _FloatTable:
    def __init__(self, weight: ir.Value) -> None:
        self._weight = weight

    def rows(self, builder: GraphBuilder, name: str, ids: ir.Value) -> ir.Value:
        """See `Table.rows`."""
        return builder.one(name, "Gather", [self._weight, ids])
