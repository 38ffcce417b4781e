"""The phase `attention`: which operator computes it fastest, and whether each computes the same."""

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from archroute_export.checkpoint.shape import ModelShape
from archroute_server.runtime.inference_session import load_graph
from archroute_server.runtime.providers import PROVIDERS, Provider
from gpu_run.attention_graphs import (
    ON_HOST,
    OPERATORS,
    AttentionGraph,
    AttentionShape,
    Inputs,
    build,
    expected,
)
from gpu_run.plan import Plan
from peers.figures import percentile

_GRAPH = "attention.onnx"
# Cached tokens of the main case, a multiple of 8.
_CACHED = 352
# Runs before any is measured; ONNX Runtime captures a graph in the first ones.
_WARM_UP = 3
# Of the largest magnitude of the expected values.
_BOUNDS = {"float16": 1e-2, "float32": 1e-4}


def run(plan: Plan, found: dict[str, Any], save: Callable[[], None]) -> None:
    """Check every operator with one layer and measure it with all, launched node by node and captured."""
    assert plan.shape.config is not None
    model = ModelShape.from_config(plan.shape.config)
    provider = next(each for each in PROVIDERS if each.name == plan.device)
    dtype = np.float16 if plan.precision == "fp16" else np.float32
    found["layers"] = model.layers
    found["cached_tokens"] = _CACHED
    found["operators"] = {}
    sizes = [_Size.of(model, new, dtype) for new in plan.new_tokens]
    # One that reads what it must not leaves the device unusable, so that those after it fail: the model's own
    # operator comes first, with every size.
    for operator in OPERATORS:
        measured = found["operators"][operator] = {}
        for new, size in zip(plan.new_tokens, sizes, strict=True):
            measured[str(new)] = _measure(operator, size, provider, plan)
            save()


@dataclass(frozen=True)
class _Size:
    """The same numbers for every operator: of all layers, and of one with what is expected of it."""

    shape: AttentionShape
    inputs: Inputs
    one_layer: AttentionShape
    single: Inputs
    expected: np.ndarray

    @classmethod
    def of(cls, model: ModelShape, new: int, dtype: type[np.floating]) -> "_Size":
        # Rounded up as the engine pads, so that masked attention may take its fused kernels.
        rounded = -(-new // 8) * 8
        shape = AttentionShape(
            rounded, _CACHED, model.layers, model.attention_heads, model.key_value_heads, model.head_size
        )
        inputs = Inputs.draw(shape, dtype)
        one_layer = replace(shape, layers=1)
        single = replace(inputs, pasts=inputs.pasts[:1])
        return cls(shape, inputs, one_layer, single, expected(one_layer, single))


def _measure(operator: str, size: _Size, provider: Provider, plan: Plan) -> dict[str, Any]:
    wanted = size.expected
    try:
        graph = build(operator, size.one_layer, size.single)
        output = _Bound(graph, provider, plan.device, {}).output()
        error = float(
            np.abs(output.reshape(wanted.shape).astype(np.float32) - wanted).max() / np.abs(wanted).max()
        )
        # Written so that NaN fails.
        if not error <= _BOUNDS[size.inputs.query.dtype.name]:
            return {"failed": f"it computes something else: the largest relative error is {error:.3g}"}
        found: dict[str, Any] = {"error": error}
        graph = build(operator, size.shape, size.inputs)
        found["milliseconds"] = _Bound(graph, provider, plan.device, {}).milliseconds(plan.repeats)
    except Exception as failure:  # noqa: BLE001 - an operator may be missing or refuse in any way; the next may not
        return {"failed": _first_line(failure)}
    if plan.device == "cuda":
        try:
            captured = _Bound(graph, provider, plan.device, {"enable_cuda_graph": "1"})
            found["captured_milliseconds"] = captured.milliseconds(plan.repeats)
        except Exception as failure:  # noqa: BLE001 - as above
            found["not_captured"] = _first_line(failure)
    return found


class _Bound:
    """A graph with inputs and outputs where the provider computes: nothing is copied while it runs."""

    def __init__(
        self, graph: AttentionGraph, provider: Provider, device: str, options: dict[str, str]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _GRAPH
            path.write_bytes(graph.model)
            arguments = (options,) if options else ()
            self._session = load_graph(path, provider, 0, *arguments)
        self._binding = self._session.io_binding()
        values = {
            name: ort.OrtValue.ortvalue_from_numpy(
                np.ascontiguousarray(array), "cpu" if name in ON_HOST else device
            )
            for name, array in graph.feeds.items()
        }
        for name, value in values.items():
            self._binding.bind_ortvalue_input(name, value)
        dtype = graph.feeds["query"].dtype
        for name, size in graph.outputs.items():
            shared = graph.in_place.get(name)
            values[name] = (
                values[shared]
                if shared is not None
                else ort.OrtValue.ortvalue_from_shape_and_type(size, dtype, device)
            )
            self._binding.bind_ortvalue_output(name, values[name])
        self._output = values["output"]

    def output(self) -> np.ndarray:
        """Run once, and return the graph's output."""
        self._session.run_with_iobinding(self._binding)
        array: np.ndarray = self._output.numpy()
        return array

    def milliseconds(self, repeats: int) -> float:
        """Return the median of several runs; each ends when the device has finished."""
        for _ in range(_WARM_UP):
            self._session.run_with_iobinding(self._binding)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            self._session.run_with_iobinding(self._binding)
            times.append(time.perf_counter() - start)
        return 1000 * percentile(times, 0.5)


def _first_line(failure: Exception) -> str:
    line = str(failure).strip().splitlines()[0]
    return f"{type(failure).__name__}: {re.sub(r'/[^ ]*' + _GRAPH, 'the graph', line)}"
