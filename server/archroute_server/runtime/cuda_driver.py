"""The NVIDIA driver, asked what is there before anything is loaded that needs it.

libcuda.so.1 comes with the driver and never from a package. Its functions are those of the CUDA driver API,
https://docs.nvidia.com/cuda/cuda-driver-api/
"""

import ctypes
from collections.abc import Callable, Iterator

LIBRARY = "libcuda.so.1"
LoadLibrary = Callable[[str], ctypes.CDLL]

# CUDA_SUCCESS, and two attributes of CUdevice_attribute, in cuda.h.
_SUCCESS = 0
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
_NAME_BYTES = 256


def driver_fault(cuda: int, load: LoadLibrary = ctypes.CDLL) -> str | None:
    """Say why no GPU can be used with version `cuda` of CUDA, and what to do; None if one can."""
    try:
        driver = load(LIBRARY)
    except OSError as error:
        return (
            f"there is no NVIDIA driver: {error}; install it, or let the container have the GPU "
            "(docker run --gpus all)"
        )
    if (status := driver.cuInit(0)) != _SUCCESS:
        return (
            f"the NVIDIA driver finds no GPU that it can use: cuInit gives {_error_name(driver, status)}; "
            "see what nvidia-smi says, and whether CUDA_VISIBLE_DEVICES is right"
        )
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    major, minor = version.value // 1000, version.value % 1000 // 10
    if major < cuda:
        return (
            f"the NVIDIA driver is for CUDA {major}.{minor}, and CUDA {cuda} is needed: install one that "
            "https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ lists for it"
        )
    return None


def describe_gpus(load: LoadLibrary = ctypes.CDLL) -> list[str]:
    """Return the name and the compute capability of each GPU; none if `driver_fault` finds one."""
    try:
        driver = load(LIBRARY)
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != _SUCCESS or driver.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS:
        return []
    return list(_describe(driver, count.value))


def compute_capability(load: LoadLibrary = ctypes.CDLL) -> str:
    """Return that of the first GPU, such as "9.0" of an H100, where `driver_fault` finds none."""
    driver = load(LIBRARY)
    driver.cuInit(0)
    device = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    return _capability(driver, device)


def _describe(driver: ctypes.CDLL, count: int) -> Iterator[str]:
    for index in range(count):
        device = ctypes.c_int()
        name = ctypes.create_string_buffer(_NAME_BYTES)
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, _NAME_BYTES, device)
        yield f"{name.value.decode()} ({_capability(driver, device)})"


def _capability(driver: ctypes.CDLL, device: ctypes.c_int) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)
    return f"{major.value}.{minor.value}"


def _error_name(driver: ctypes.CDLL, status: int) -> str:
    name = ctypes.c_char_p()
    driver.cuGetErrorName(status, ctypes.byref(name))
    return f"{name.value.decode()} ({status})" if name.value else str(status)
