"""What the NVIDIA driver is asked, and what its answers mean."""

from pathlib import Path

import pytest

from archroute_server.runtime.cuda_driver import compute_capability, describe_gpus, driver_fault
from support.fake_cuda_driver import NO_DEVICE, load_fake_driver


def load_nothing(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_no_driver() -> None:
    fault = driver_fault(13, load_nothing)  # type: ignore[arg-type]
    assert fault is not None
    assert fault.startswith("there is no NVIDIA driver: libcuda.so.1: cannot open")
    assert describe_gpus(load_nothing) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "name"), [(NO_DEVICE, "CUDA_ERROR_NO_DEVICE (100)"), (803, "cuInit gives 803;")]
)
def test_a_driver_without_a_gpu(tmp_path: Path, status: int, name: str) -> None:
    load = load_fake_driver(tmp_path, status=status)
    fault = driver_fault(13, load)
    assert fault is not None
    assert name in fault
    assert describe_gpus(load) == []


def test_a_driver_that_is_too_old(tmp_path: Path) -> None:
    fault = driver_fault(13, load_fake_driver(tmp_path, version=12040))
    assert fault is not None
    assert "is for CUDA 12.4, and CUDA 13 is needed" in fault


@pytest.mark.parametrize("version", [13000, 13050, 14000])
def test_a_driver_that_will_do(tmp_path: Path, version: int) -> None:
    load = load_fake_driver(tmp_path, version=version)
    assert driver_fault(13, load) is None
    assert describe_gpus(load) == ["NVIDIA H100 (9.0)", "NVIDIA L40S (8.9)"]
    assert compute_capability(load) == "9.0"
