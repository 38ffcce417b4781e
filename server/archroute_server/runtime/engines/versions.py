"""Versions of the libraries that build engines; an engine runs with the version that built it."""

import ctypes
from importlib import metadata

from archroute_server.runtime.cuda_driver import LoadLibrary
from archroute_server.runtime.errors import RuntimeLoadError


def tensorrt_version(load: LoadLibrary = ctypes.CDLL) -> str:
    """Return the version of TensorRT, of its Python package or else of the system's library.

    Raises `RuntimeLoadError` if there is neither.
    """
    try:
        return metadata.version("tensorrt-cu13")
    except metadata.PackageNotFoundError:
        pass
    try:
        number = int(load("libnvinfer.so.10").getInferLibVersion())
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
