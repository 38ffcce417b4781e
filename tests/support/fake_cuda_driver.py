"""A library that says what a test wants in the place of the NVIDIA driver, compiled from C.

What calls it is the code that calls the real one, by the same types.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from archroute_server.runtime.cuda_driver import LIBRARY

NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE of cuda.h."""

SOURCE = r"""
#include <string.h>
int cuInit(unsigned flags) { return STATUS; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuGetErrorName(int status, const char **name) {
    *name = status == 100 ? "CUDA_ERROR_NO_DEVICE" : 0;
    return status == 100 ? 0 : 1;
}
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return 0; }
int cuDeviceGetName(char *name, int bytes, int device) {
    strncpy(name, device == 40 ? "NVIDIA H100" : "NVIDIA L40S", bytes);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? (device == 40 ? 9 : 8) : attribute == 76 ? (device == 40 ? 0 : 9) : -1;
    return 0;
}
"""


def load_fake_driver(folder: Path, *, status: int = 0, version: int = 13000) -> Callable[[str], ctypes.CDLL]:
    """Compile a driver of two GPUs whose `cuInit` gives `status`; return what loads it, and nothing else.

    Skips the test where there is no C compiler.
    """
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("needs a C compiler, to make a driver with")
    source, library = folder / "driver.c", folder / LIBRARY
    source.write_text(SOURCE)
    definitions = (f"-DSTATUS={status}", f"-DVERSION={version}")
    subprocess.run([compiler, "-shared", "-fPIC", *definitions, "-o", library, source], check=True)

    def load(name: str) -> ctypes.CDLL:
        if name != LIBRARY:
            raise OSError(f"{name}: cannot open shared object file")
        return ctypes.CDLL(str(library))

    return load
