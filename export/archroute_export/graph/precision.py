"""Precision: how a graph holds and multiplies its weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.weights import Floats

MakeFloats = Callable[[], Floats]


@dataclass(frozen=True, slots=True)
class Scaled:
    """`value [1, N, K]`, still to be multiplied by `scale [1, N, 1]`; None stands for one.

    A quantized product leaves its tokens' scales beside it, because what reads it next may not need them
    multiplied in: quantizing a token again divides by its scale anyway.
    """

    value: ir.Value
    scale: ir.Value | None = None

    def settle(self, builder: GraphBuilder, name: str) -> ir.Value:
        """Multiply the scale in."""
        if self.scale is None:
            return self.value
        return builder.one(f"{name}/rescale", "Mul", [self.value, self.scale])


class Precision(Protocol):
    """How a graph holds and multiplies its weights."""

    @property
    def activations(self) -> ir.DataType:
        """The float type of hidden states, KV cache and attention bias."""

    @property
    def quantizes_activations(self) -> bool:
        """Whether a token's activations share one scale, so that smoothing them helps."""

    def linear(
        self,
        builder: GraphBuilder,
        name: str,
        hidden: Scaled,
        make: MakeFloats,
        shape: tuple[int, int],
    ) -> Scaled:
        """Multiply `hidden [1, N, K]` by the matrix `[K, M]` that `make` gives: `[1, N, M]`."""

    def table(self, builder: GraphBuilder, name: str, make: MakeFloats, shape: tuple[int, int]) -> "Table":
        """Declare an embedding table `[V, H]`."""


class Table(Protocol):
    """An embedding table whose rows are looked up, by the input and by a tied head."""

    def rows(self, builder: GraphBuilder, name: str, ids: ir.Value) -> ir.Value:
        """Return the rows that `ids [...]` name: `[..., H]` in the activations' type."""
