"""What is asked of NVIDIA's driver and libraries, of which a fake stands here."""

import ctypes
from importlib import metadata
from typing import Any

import pytest

from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.nvidia import compute_capability, tensorrt_rtx_version, tensorrt_version


class FakeDriver:
    """libcuda.so.1 of a machine with an H100, unless a function is told to fail."""

    def __init__(self, failing: str = "") -> None:
        self._failing = failing

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 100 if self._failing == "cuInit" else 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        return 101 if self._failing == "cuDeviceGet" else 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:  # noqa: N802
        value._obj.value = {75: 9, 76: 0}[attribute]
        return 0


class FakeTensorrt:
    def getInferLibVersion(self) -> int:  # noqa: N802
        return 101601


def absent(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file: No such file or directory")


def test_the_compute_capability_is_the_drivers() -> None:
    assert compute_capability(lambda name: FakeDriver()) == "9.0"


def test_a_machine_without_a_driver() -> None:
    with pytest.raises(RuntimeLoadError, match=r"no driver .*libcuda\.so\.1.*install NVIDIA's driver"):
        compute_capability(absent)


@pytest.mark.parametrize("function", ["cuInit", "cuDeviceGet"])
def test_a_driver_without_a_gpu(function: str) -> None:
    with pytest.raises(RuntimeLoadError, match=rf"no GPU .*{function} gave 10\d.*CUDA_VISIBLE_DEVICES"):
        compute_capability(lambda name: FakeDriver(function))


def not_installed(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def test_the_version_of_a_package_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"tensorrt-cu13": "10.16.1.11"}.__getitem__)
    assert tensorrt_version(absent) == "10.16.1.11"


def test_the_version_of_the_systems_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", not_installed)
    assert tensorrt_version(lambda name: FakeTensorrt()) == "10.16.1"


def test_no_tensorrt_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", not_installed)
    with pytest.raises(RuntimeLoadError, match=r"TensorRT 10 is not installed .*libnvinfer\.so\.10"):
        tensorrt_version(absent)


def test_the_version_of_tensorrt_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"onnxruntime-ep-nv-tensorrt-rtx-cu13": "0.5.0"}.__getitem__)
    assert tensorrt_rtx_version() == "0.5.0"
    monkeypatch.setattr(metadata, "version", not_installed)
    with pytest.raises(RuntimeLoadError, match="pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"):
        tensorrt_rtx_version()
