"""What the device did, as CUDA's own tracing library (CUPTI) reports it.

`torch.profiler` records through CUPTI, which reports on the whole process and so on ONNX Runtime too (not
measured yet; without any kernel in the trace the report says so). It writes Chrome's trace format: each event
has a category `cat`, a `name`, and a duration `dur` in microseconds.
https://pytorch.org/docs/stable/profiler.html, https://docs.nvidia.com/cupti/main/main.html#cupti-activity-api
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gpu_run.packages import TORCH

_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
_CALLS = ("cuda_runtime", "cuda_driver")
_KERNELS_NAMED = 10
_LONGEST_NAME = 120


async def device_work(ask: Callable[[], Awaitable[object]], times: int, device: str) -> dict[str, Any]:
    """Let something be done several times, and return what the device did for it, in milliseconds a time."""
    if not TORCH.installed():
        return {"skipped": "torch is not installed, whose profiler reads CUDA's trace"}
    if device != "cuda":
        return {"skipped": "there is no CUDA device"}
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        start = time.perf_counter()
        for _ in range(times):
            await ask()
        milliseconds = 1000 * (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return summarize(events, times) | {"wall": milliseconds / times}


def summarize(events: Iterable[Mapping[str, Any]], times: int) -> dict[str, Any]:
    """Sum up the events of a trace, in milliseconds for each of `times`.

    `kernels` and `copies` are on the device; `launches`, `waits` and `other_calls` are the host's calls.
    """
    sums: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    by_kernel: Counter[str] = Counter()
    for event in events:
        kind = _kind(str(event.get("cat", "")), str(event.get("name", "")))
        if kind is None or "dur" not in event:
            continue
        sums[kind] += event["dur"]
        numbers[kind] += 1
        if kind == "kernels":
            by_kernel[str(event["name"])] += event["dur"]
    if not numbers["kernels"]:
        return {"skipped": "the trace has no kernels"}
    per_time = 1000 * times
    found: dict[str, Any] = {kind: total / per_time for kind, total in sums.items()}
    found["numbers"] = {kind: number / times for kind, number in numbers.items()}
    found["longest_kernels"] = {
        name[:_LONGEST_NAME]: total / per_time for name, total in by_kernel.most_common(_KERNELS_NAMED)
    }
    return found


def _kind(category: str, name: str) -> str | None:
    if category in _DEVICE:
        return "kernels" if category == "kernel" else "copies"
    if category not in _CALLS:
        return None
    if "Launch" in name:
        return "launches"
    return "waits" if "Synchronize" in name else "other_calls"
