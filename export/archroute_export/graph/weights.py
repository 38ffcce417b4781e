"""Weight arithmetic of the precisions: rounding floats and quantizing rows, in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

Made = TypeVar("Made")

INT4_BLOCK = 32
_ROWS_AT_A_TIME = 8192
# Below this, a quotient may be too small for a float of full precision.
_AS_GOOD_AS_ZERO = 1e-30


class Shared(Generic[Made]):
    """Makes a value once for the two initializers that it fills, written one after the other."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: Made | None = None

    def get(self) -> Made:
        """Return the value and keep it for `take`."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def take(self) -> Made:
        """Return the value and let go of it, so that one layer's weights are in memory at a time."""
        made, self._made = self.get(), None
        return made


@dataclass(frozen=True, slots=True)
class Int8Columns:
    """A matrix `[K, N]` as `(values - 128) * scales`, one scale a column."""

    values: npt.NDArray[np.uint8]
    scales: Floats


def quantize_columns(matrix: Floats) -> Int8Columns:
    """Quantize `[K, N]` to 8 bits, symmetric, one scale for each output column.

    The values are unsigned with zero point 128: on x86 processors without VNNI, ONNX Runtime
    multiplies unsigned by signed bytes with an instruction that saturates at 16 bits, while
    unsigned by unsigned is exact on every processor.
    """
    scales = _scales(np.abs(matrix).max(axis=0), 127)
    values = np.rint(matrix / scales)
    values += 128
    return Int8Columns(values.astype(np.uint8), scales)


@dataclass(frozen=True, slots=True)
class Int8Rows:
    """A table `[V, H]` as `values * scales[:, None]`, one scale a row."""

    values: npt.NDArray[np.int8]
    scales: Floats


def quantize_rows(table: Floats) -> Int8Rows:
    """Quantize `[V, H]` to 8 bits, symmetric, one scale for each row."""
    values = np.empty(table.shape, np.int8)
    scales = np.empty(len(table), np.float32)
    # In pieces: an embedding table is the largest tensor there is, and each step makes a copy.
    for start in range(0, len(table), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        scales[rows] = _scales(np.abs(table[rows]).max(axis=1), 127)
        values[rows] = np.rint(table[rows] / scales[rows, None])
    return Int8Rows(values, scales)


@dataclass(frozen=True, slots=True)
class Int4Blocks:
    """A matrix as MatMulNBits reads it: `packed [N, K / 32, 16]`, `scales [N, K / 32]`.

    Two values a byte, the earlier in the low half; a value means `(value - 8) * scale`.
    Format: com.microsoft.MatMulNBits in ONNX Runtime's ContribOperators.md.
    """

    packed: npt.NDArray[np.uint8]
    scales: Floats


def quantize_blocks(matrix: Floats) -> Int4Blocks:
    """Quantize `[K, N]` to 4 bits, symmetric, one scale for each block of 32 along K.

    K is padded with zeros to a multiple of the block. The value of largest magnitude of a block
    is mapped to -8, which uses the whole range of four bits.
    """
    rows = np.ascontiguousarray(matrix.T)
    outputs, depth = rows.shape
    blocks = -(-depth // INT4_BLOCK)
    padded = np.zeros((outputs, blocks * INT4_BLOCK), np.float32)
    padded[:, :depth] = rows
    grouped = padded.reshape(outputs, blocks, INT4_BLOCK)
    extreme = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=2)[..., None], axis=2)[..., 0]
    scales = _scales(extreme, -8)
    values = np.clip(np.rint(grouped / scales[..., None]) + 8, 0, 15).astype(np.uint8)
    return Int4Blocks(values[..., 0::2] | (values[..., 1::2] << 4), scales)


def _scales(extremes: Floats, levels: int) -> Floats:
    # A row of zeros gets scale one: it stays zero, and nothing divides by zero.
    return np.where(np.abs(extremes) < _AS_GOOD_AS_ZERO, np.float32(1), extremes / np.float32(levels)).astype(
        np.float32
    )
