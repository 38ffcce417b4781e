"""Int4Precision: 4-bit weights, for machines short of memory."""

import onnx_ir as ir

from archroute_export.graph.builder import MICROSOFT, GraphBuilder
from archroute_export.graph.int8_precision import Int8Precision
from archroute_export.graph.precision import MakeFloats, Scaled, Table
from archroute_export.graph.weights import INT4_BLOCK, Shared, quantize_blocks


class Int4Precision:
    """4-bit weights in blocks of 32 (MatMulNBits), activations in float32.

    A quarter of the memory of int8 weights saved, at the price of accuracy and, for prompts, of
    speed. The embedding table is kept in 8 bits: its rows are few where they are used.
    """

    activations = ir.DataType.FLOAT
    quantizes_activations = False

    def linear(
        self,
        builder: GraphBuilder,
        name: str,
        hidden: Scaled,
        make: MakeFloats,
        shape: tuple[int, int],
    ) -> Scaled:
        """See `Precision.linear`."""
        depth, width = shape
        blocks = -(-depth // INT4_BLOCK)
        shared = Shared(lambda: quantize_blocks(make()))
        weight = builder.weight(
            f"{name}.weight", lambda: shared.get().packed, ir.DataType.UINT8, [width, blocks, INT4_BLOCK // 2]
        )
        scales = builder.weight(
            f"{name}.scales", lambda: shared.take().scales, ir.DataType.FLOAT, [width, blocks]
        )
        # Level 4 lets the kernel quantize the activations to 8 bits, block by block.
        attributes = {"K": depth, "N": width, "bits": 4, "block_size": INT4_BLOCK, "accuracy_level": 4}
        inputs = [hidden.settle(builder, name), weight, scales]
        return Scaled(builder.one(name, "MatMulNBits", inputs, attributes, domain=MICROSOFT))

    def table(self, builder: GraphBuilder, name: str, make: MakeFloats, shape: tuple[int, int]) -> Table:
        """See `Precision.table`."""
        return Int8Precision().table(builder, name, make, shape)
