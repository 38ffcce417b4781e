"""What is read out of a trace of CUDA's calls and kernels."""

from typing import Any

import pytest

from gpu_run.trace import summarize


def event(category: str, name: str, microseconds: float) -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": name, "dur": microseconds}


TRACE = [
    event("kernel", "gemm", 3000),
    event("kernel", "gemm", 1000),
    event("kernel", "fmha", 500),
    event("gpu_memcpy", "Memcpy HtoD", 40),
    event("gpu_memset", "Memset", 10),
    event("cuda_runtime", "cudaLaunchKernel", 20),
    event("cuda_driver", "cuLaunchKernelEx", 10),
    event("cuda_runtime", "cudaStreamSynchronize", 4000),
    event("cuda_runtime", "cudaMemcpyAsync", 8),
    event("cpu_op", "aten::mm", 9999),
    {"ph": "M", "name": "process_name"},
]


def test_the_time_is_that_of_one_decision() -> None:
    found = summarize(TRACE, times=2)
    assert found["kernels"] == pytest.approx(2.25)
    assert found["copies"] == pytest.approx(0.025)
    assert found["launches"] == pytest.approx(0.015)
    assert found["waits"] == pytest.approx(2.0)
    assert found["other_calls"] == pytest.approx(0.004)
    assert found["numbers"]["kernels"] == 1.5


def test_the_longest_kernels_come_first() -> None:
    longest = summarize(TRACE, times=1)["longest_kernels"]
    assert list(longest.items()) == [("gemm", pytest.approx(4.0)), ("fmha", pytest.approx(0.5))]


def test_a_trace_without_kernels_is_said_to_be_one() -> None:
    assert summarize([event("cuda_runtime", "cudaLaunchKernel", 20)], times=1) == {
        "skipped": "the trace has no kernels"
    }
