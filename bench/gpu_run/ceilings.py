"""The phase `ceilings`: how fast this device multiplies the model's matrices and copies its memory.

All products of all layers run one after the other, each layer with weights of its own, so that they come
from memory as in the model. On a GPU they are captured once and replayed: no kernel waits for the host.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from archroute_export.checkpoint.shape import ModelShape
from gpu_run.plan import Plan
from peers.figures import percentile
from peers.work import products

_WARM_UP = 3


def run(plan: Plan, found: dict[str, Any], save: Callable[[], None]) -> None:
    """Measure products in float16 and bfloat16 for each number of rows, a large square one, and copies."""
    import torch

    assert plan.shape.config is not None
    model = ModelShape.from_config(plan.shape.config)
    layer = products(model)
    found["operations_a_row"] = model.layers * sum(product.operations(1) for product in layer)
    found["weight_bytes"] = model.layers * sum(2 * product.inner * product.columns for product in layer)
    found["products"] = {}
    with torch.inference_mode():
        for name in ("float16", "bfloat16"):
            dtype = getattr(torch, name)
            sizes = [(product.inner, product.columns) for _ in range(model.layers) for product in layer]
            weights = [_random(torch, size, dtype, plan) for size in sizes]
            found["products"][name] = {
                str(rows): _products(torch, plan, weights, rows, dtype) for rows in plan.products_rows
            }
            del weights
            square = [_random(torch, (plan.square, plan.square), dtype, plan)]
            found["products"][name]["square"] = _products(torch, plan, square, plan.square, dtype)
            del square
            save()
        found["copied_bytes_a_second"] = _copies(torch, plan)


def _products(torch: Any, plan: Plan, weights: Sequence[Any], rows: int, dtype: Any) -> dict[str, float]:
    inputs = {weight.shape[0]: _random(torch, (rows, weight.shape[0]), dtype, plan) for weight in weights}
    outputs = {weight.shape[1]: _random(torch, (rows, weight.shape[1]), dtype, plan) for weight in weights}

    def multiply() -> None:
        for weight in weights:
            torch.mm(inputs[weight.shape[0]], weight, out=outputs[weight.shape[1]])

    seconds = _median_seconds(torch, plan, multiply)
    operations = sum(2 * rows * weight.shape[0] * weight.shape[1] for weight in weights)
    return {"milliseconds": 1000 * seconds, "operations_a_second": operations / seconds}


def _copies(torch: Any, plan: Plan) -> float:
    """Return the bytes that are read and written a second."""
    source = torch.ones(plan.copied_bytes, dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    return 2 * plan.copied_bytes / _median_seconds(torch, plan, lambda: target.copy_(source))


def _random(torch: Any, size: tuple[int, int], dtype: Any, plan: Plan) -> Any:
    return torch.randn(size, device=plan.device, dtype=torch.float32).mul_(0.02).to(dtype)


def _median_seconds(torch: Any, plan: Plan, work: Callable[[], object]) -> float:
    """Return the median of several runs, by CUDA's events where there is a GPU."""
    if plan.device != "cuda":
        times = []
        for _ in range(plan.repeats):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return percentile(times, 0.5)
    # https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs: a few runs on another stream come first.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    times = []
    for _ in range(plan.repeats):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        graph.replay()
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) / 1000)
    return percentile(times, 0.5)
