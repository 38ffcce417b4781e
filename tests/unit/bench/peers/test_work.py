import numpy as np
import onnxruntime
import pytest

from archroute_export.checkpoint.shape import ModelShape
from peers.roofline import Kind, graph, new_tokens
from peers.shapes import SHAPES
from peers.work import Product, attention_operations, linear_operations, products
from support.bench_results import make_case

MODEL = ModelShape.from_config(SHAPES["0.5b"].config or {})


def test_the_products_are_those_of_the_weights() -> None:
    shapes = MODEL.tensor_shapes()
    weights = [
        rows * columns
        for name, (rows, *rest) in shapes.items()
        if name.startswith("model.layers.0.") and name.endswith("_proj.weight")
        for columns in rest
    ]
    assert sum(product.operations(1) for product in products(MODEL)) == 2 * sum(weights)


def test_the_last_layer_ends_with_the_rows_that_are_read() -> None:
    first, *others = products(MODEL)
    whole = (first.operations(100) + sum(product.operations(100) for product in others)) * MODEL.layers
    spared = sum(product.operations(90) for product in others)
    assert linear_operations(MODEL, new=100, read=10) == whole - spared


def test_each_token_sees_those_before_it_and_itself() -> None:
    one = attention_operations(MODEL, new=1, cached=0)
    assert one == 4 * MODEL.attention_heads * MODEL.head_size * MODEL.layers
    assert attention_operations(MODEL, new=3, cached=10) == (11 + 12 + 13) * one


def test_a_warm_decision_computes_what_is_behind_the_policies() -> None:
    case = make_case()
    assert new_tokens(case) == 33 - 20 + 5


@pytest.mark.parametrize("kind", ["int8", "fp32"])
def test_a_bare_product_is_computed(kind: Kind) -> None:
    session = onnxruntime.InferenceSession(
        graph(Product("down", inner=8, columns=4), kind), providers=["CPUExecutionProvider"]
    )
    if kind == "fp32":
        (result,) = session.run(None, {"activations": np.eye(8, dtype=np.float32)})
        assert result.shape == (8, 4)
        assert len(np.unique(result)) == 32
        return
    # 128 stands for zero in both.
    (zeros,) = session.run(None, {"activations": np.full((3, 8), 128, np.uint8)})
    assert (zeros == np.zeros((3, 4))).all()
    (ones,) = session.run(None, {"activations": np.full((3, 8), 129, np.uint8)})
    assert ones.any()
