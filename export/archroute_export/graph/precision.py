"""Precision: how a graph holds and multiplies its weights."""

from collections.abc import Callable
from typing import Protocol

import onnx_ir as ir

from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.weights import Floats

MakeFloats = Callable[[], Floats]


class Precision(Protocol):
    """How a graph holds and multiplies its weights."""

    @property
    def activations(self) -> ir.DataType:
        """The float type of hidden states, KV cache and attention bias."""

    def linear(
        self,
        builder: GraphBuilder,
        name: str,
        hidden: ir.Value,
        make: MakeFloats,
        shape: tuple[int, int],
    ) -> ir.Value:
        """Multiply `hidden [1, N, K]` by the matrix `[K, M]` that `make` gives: `[1, N, M]`."""

    def table(self, builder: GraphBuilder, name: str, make: MakeFloats, shape: tuple[int, int]) -> "Table":
        """Declare an embedding table `[V, H]`."""


class Table(Protocol):
    """An embedding table whose rows are looked up, by the input and by a tied head."""

    def rows(self, builder: GraphBuilder, name: str, ids: ir.Value) -> ir.Value:
        """Return the rows that `ids [...]` name: `[..., H]` in the activations' type."""
