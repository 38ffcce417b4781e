"""What NVIDIA's driver and libraries say of themselves, by their C interfaces."""

import ctypes
from collections.abc import Callable
from importlib import metadata
from typing import Any

from archroute_server.runtime.errors import RuntimeLoadError

OpenLibrary = Callable[[str], Any]

# Of CUdevice_attribute in cuda.h.
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76


def compute_capability(open_library: OpenLibrary = ctypes.CDLL) -> str:
    """Return the compute capability of the first visible GPU, such as "9.0" of an H100.

    Raises `RuntimeLoadError` without a driver or a GPU.
    """
    try:
        driver = open_library("libcuda.so.1")
    except OSError as error:
        raise RuntimeLoadError(
            f"there is no driver of an NVIDIA GPU here ({error}): install NVIDIA's driver, or give the "
            "container the GPU, or use --provider cpu"
        ) from error
    device = ctypes.c_int()
    _check(driver.cuInit(0), "cuInit")
    _check(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    parts = []
    for attribute in (_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int()
        _check(driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute")
        parts.append(str(value.value))
    return ".".join(parts)


def tensorrt_version(open_library: OpenLibrary = ctypes.CDLL) -> str:
    """Return the version of TensorRT, of its Python package or else of the system's library.

    Raises `RuntimeLoadError` if there is neither.
    """
    try:
        return metadata.version("tensorrt-cu13")
    except metadata.PackageNotFoundError:
        pass
    try:
        number = int(open_library("libnvinfer.so.10").getInferLibVersion())
    except OSError as error:
        raise RuntimeLoadError(
            f"TensorRT 10 is not installed ({error}): install its libraries, or use --provider cuda"
        ) from error
    # NV_TENSORRT_VERSION of NvInferVersion.h: 101601 is 10.16.1.
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def tensorrt_rtx_version() -> str:
    """Return the version of the TensorRT-RTX provider, whose package has the libraries in it.

    Raises `RuntimeLoadError` if it is not installed.
    """
    name = "onnxruntime-ep-nv-tensorrt-rtx-cu13"
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise RuntimeLoadError(
            f"{name} is not installed: pip install {name}, or use another --provider"
        ) from error


def _check(status: int, function: str) -> None:
    if status:
        raise RuntimeLoadError(
            f"NVIDIA's driver has no GPU for this process ({function} gave {status}): look at nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, or use --provider cpu"
        )
