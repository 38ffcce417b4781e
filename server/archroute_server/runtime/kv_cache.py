"""KeyValueCache: the keys and values of tokens that the model has already read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class KeyValueCache:
    """Keys and values of `tokens` tokens, read-only and so free to share.

    `arrays` holds the key and the value of each layer in turn, each
    `[1, key_value_heads, tokens, head_size]` in the graph's float type.
    """

    arrays: tuple[Array, ...]

    @property
    def tokens(self) -> int:
        """How many tokens are cached."""
        return int(self.arrays[0].shape[2])

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        return sum(array.nbytes for array in self.arrays)

    def slice(self, start: int, stop: int) -> "KeyValueCache":
        """Copy the tokens from `start` up to `stop` into arrays of their own."""
        return KeyValueCache(tuple(np.ascontiguousarray(array[:, :, start:stop]) for array in self.arrays))


def concatenate(parts: Sequence[KeyValueCache]) -> KeyValueCache:
    """Join consecutive parts of one sequence; a single part is returned as it is, without a copy."""
    if len(parts) == 1:
        return parts[0]
    layers = zip(*(part.arrays for part in parts), strict=True)
    return KeyValueCache(tuple(np.concatenate(layer, axis=2) for layer in layers))
