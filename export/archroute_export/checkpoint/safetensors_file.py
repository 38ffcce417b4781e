"""One safetensors file of floating-point tensors: names, shapes and values."""

from collections.abc import Iterator
from pathlib import Path

import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, which safetensors then reads
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from archroute_export.checkpoint.errors import CheckpointError

# safetensors' names of the types that are read.
_FLOATING_TYPES = ("F32", "F16", "BF16")


def tensor_shapes(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Read a file's header. safetensors itself refuses a file shorter or longer than that says.

    Raises `CheckpointError` for a file that cannot be read, and for a tensor of a type that is not.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  a safetensors handle, not a dict
                header = opened.get_slice(name)
                if header.get_dtype() not in _FLOATING_TYPES:
                    raise CheckpointError(
                        f"{file}: {name} is stored as {header.get_dtype()}; expected one of "
                        f"{', '.join(_FLOATING_TYPES)}"
                    )
                yield name, tuple(header.get_shape())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file}: cannot be read, it may be truncated ({error}). Download or copy it again."
        ) from error


def read_tensor(file: Path, name: str) -> npt.NDArray[np.float32]:
    """Read one tensor as C-contiguous float32; the caller owns the copy. Raises `CheckpointError`."""
    try:
        with safe_open(file, framework="numpy") as opened:
            stored = opened.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: {name} cannot be read: {error}") from error
    return np.ascontiguousarray(stored, dtype=np.float32)
