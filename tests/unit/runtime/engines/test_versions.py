"""The versions of what builds engines, of a package or of the system."""

from importlib import metadata
from typing import Any

import pytest

from archroute_server.runtime.engines.versions import tensorrt_rtx_version, tensorrt_version
from archroute_server.runtime.errors import RuntimeLoadError


class FakeTensorrt:
    def getInferLibVersion(self) -> int:  # noqa: N802
        return 101601


def absent(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file: No such file or directory")


def not_installed(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def test_the_version_of_a_package_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"tensorrt-cu13": "10.16.1.11"}.__getitem__)
    assert tensorrt_version(absent) == "10.16.1.11"


def test_the_version_of_the_systems_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", not_installed)
    assert tensorrt_version(lambda name: FakeTensorrt())  # type: ignore[arg-type,return-value] == "10.16.1"


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
