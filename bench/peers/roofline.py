"""How fast this machine multiplies the model's matrices when it does nothing else.

One bare product at a time, through ONNX Runtime, with as many rows as a decision has new tokens:

    MatMulInteger   unsigned bytes for activations and weights, both with zero point 128, as in int8 bundles
    MatMul          float32
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import onnxruntime

from archroute_export.checkpoint.open import open_checkpoint
from peers import machine
from peers.cases import Case
from peers.measuring import main_case
from peers.results import Results
from peers.work import Product, attention_operations, linear_operations, products

Kind = Literal["int8", "fp32"]

NAME = "roofline"
_OPSET = 21
_ZERO_POINT = 128


def measure_roofline(results: Results, seconds: float, threads: int, say: Callable[[str], None]) -> None:
    """Measure the products of a shape in both kinds of numbers, `seconds` for each product."""
    if results.read(NAME):
        say("The roofline is measured already")
        return
    case = main_case(results.cases)
    model = open_checkpoint(str(results.folder / "checkpoint")).shape
    rows = new_tokens(case)
    found: dict[str, Any] = {
        "machine": machine.describe(),
        "threads": threads,
        "new_tokens": rows,
        "linear_operations": linear_operations(model, rows, case.branches),
        "attention_operations": attention_operations(model, rows, case.prefix_tokens),
        "ceilings": {},
    }
    kinds: tuple[Kind, ...] = ("int8", "fp32")
    for kind in kinds:
        measured = [
            (product.operations(rows), best_seconds(product, rows, kind, seconds, threads))
            for product in products(model)
        ]
        per_second = sum(operations for operations, _ in measured) / sum(best for _, best in measured)
        found["ceilings"][kind] = per_second
        say(f"  {kind}: {per_second / 1e9:.0f} billion operations a second")
    results.write(NAME, found)


def new_tokens(case: Case) -> int:
    """Return how many tokens a warm decision computes: those of the conversation and of the answers."""
    return case.prompt_tokens - case.prefix_tokens + case.tree_tokens


def best_seconds(product: Product, rows: int, kind: Kind, seconds: float, threads: int) -> float:
    """Return the shortest time of a product, repeated for `seconds` and at least three times."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph(product, kind), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    activations = (
        random.integers(0, 256, (rows, product.inner), np.uint8)
        if kind == "int8"
        else random.standard_normal((rows, product.inner), np.float32)
    )
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {"activations": activations})
        times.append(time.perf_counter() - start)
    return min(times)


def graph(product: Product, kind: Kind) -> bytes:
    """Return a model of one product, `activations [rows, inner] -> result [rows, columns]`."""
    random = np.random.default_rng(1)
    size = (product.inner, product.columns)
    if kind == "int8":
        operator, stored, result = "MatMulInteger", ir.DataType.UINT8, ir.DataType.INT32
        zero_point = np.array(_ZERO_POINT, np.uint8)
        initializers = [
            _initializer("weights", random.integers(0, 256, size, np.uint8)),
            _initializer("activations_zero", zero_point),
            _initializer("weights_zero", zero_point),
        ]
    else:
        operator, stored, result = "MatMul", ir.DataType.FLOAT, ir.DataType.FLOAT
        initializers = [_initializer("weights", random.standard_normal(size, np.float32))]
    activations = ir.Value(
        name="activations", shape=ir.Shape(["rows", product.inner]), type=ir.TensorType(stored)
    )
    node = ir.node(operator, [activations, *initializers])
    output = node.outputs[0]
    output.name = "result"
    output.shape = ir.Shape(["rows", product.columns])
    output.type = ir.TensorType(result)
    whole = ir.Graph(
        [activations],
        [output],
        nodes=[node],
        initializers=initializers,
        name=product.name,
        opset_imports={"": _OPSET},
    )
    serialized: bytes = ir.to_proto(ir.Model(whole, ir_version=10)).SerializeToString()
    return serialized


def _initializer(name: str, values: np.ndarray) -> ir.Value:
    tensor = ir.tensor(values, name=name)
    return ir.Value(
        name=name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
