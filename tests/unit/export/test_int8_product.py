"""The integer product that int8 graphs are made of, on the machine that runs the test."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from archroute_export.graph.builder import MICROSOFT, GraphBuilder


def multiply(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Run a bare MatMulIntegerToFloat as `int8_precision` emits it: both sides unsigned, zero points 128."""
    builder = GraphBuilder()
    rows, depth = activations.shape
    width = weights.shape[1]
    fed = ir.Value(name="a", type=ir.TensorType(ir.DataType.UINT8), shape=ir.Shape([rows, depth]))
    unit = builder.constant(1.0, ir.DataType.FLOAT)
    zero_point = builder.constant(128, ir.DataType.UINT8)
    product = builder.one(
        "product",
        "MatMulIntegerToFloat",
        [
            fed,
            builder.weight("b", lambda: weights, ir.DataType.UINT8, weights.shape),
            unit,
            builder.weight("scales", lambda: np.ones(width, np.float32), ir.DataType.FLOAT, [width]),
            zero_point,
            zero_point,
        ],
        domain=MICROSOFT,
    )
    product.type, product.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([rows, width])
    model = ir.serde.serialize_model(builder.finish("product", [fed], [product])).SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    [result] = session.run(None, {"a": activations})
    found: np.ndarray = result
    return found


def extremes(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), shape)


# As many rows as a decoding step, a short prompt and a long one have: each takes another kernel.
@pytest.mark.parametrize("rows", [1, 3, 64, 300])
@pytest.mark.parametrize(("depth", "width"), [(64, 33), (1536, 256), (8960, 40)])
def test_products_of_extreme_values_are_exact(rows: int, depth: int, width: int) -> None:
    activations, weights = extremes((rows, depth), 0), extremes((depth, width), 1)
    expected = (activations.astype(np.int64) - 128) @ (weights.astype(np.int64) - 128)
    np.testing.assert_array_equal(multiply(activations, weights), expected.astype(np.float32))


@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 255), (255, 0), (255, 255)])
def test_nothing_saturates_when_all_products_point_one_way(left: int, right: int) -> None:
    found = multiply(np.full((5, 8960), left, np.uint8), np.full((8960, 16), right, np.uint8))
    assert (found == np.float32((left - 128) * (right - 128) * 8960)).all()
