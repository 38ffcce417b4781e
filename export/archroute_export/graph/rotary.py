"""Rotary position embedding: the graph's tables of cosines and sines."""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from archroute_export.checkpoint.shape import ModelShape
from archroute_export.graph.builder import GraphBuilder
from archroute_export.graph.precision import Precision


def rotary_tables(
    builder: GraphBuilder, precision: Precision, shape: ModelShape
) -> tuple[ir.Value, ir.Value]:
    """Declare the cosines and sines of every position, each `[maximum_positions, head_size / 2]`."""
    target = precision.activations
    dimensions = [shape.maximum_positions, shape.head_size // 2]
    return (
        builder.weight(
            "rotary.cosines", lambda: np.cos(rotary_angles(shape)).astype(target.numpy()), target, dimensions
        ),
        builder.weight(
            "rotary.sines", lambda: np.sin(rotary_angles(shape)).astype(target.numpy()), target, dimensions
        ),
    )


def rotary_angles(shape: ModelShape) -> npt.NDArray[np.float64]:
    """Return the angle of every position and frequency: `[maximum_positions, head_size / 2]` radians."""
    return np.outer(np.arange(shape.maximum_positions), shape.rope_frequencies())
