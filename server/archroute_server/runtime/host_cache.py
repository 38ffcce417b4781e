"""HostCache: keys and values in the memory of this process."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class HostCache:
    """A `KeyValueCache` of NumPy arrays.

    `arrays` holds the key and the value of each layer in turn, each
    `[1, key_value_heads, tokens, head_size]` in the graph's float type.
    """

    arrays: tuple[Array, ...]

    @property
    def tokens(self) -> int:
        """See `KeyValueCache.tokens`."""
        return int(self.arrays[0].shape[2])

    @property
    def nbytes(self) -> int:
        """See `KeyValueCache.nbytes`."""
        return sum(array.nbytes for array in self.arrays)

    def slice(self, start: int, stop: int) -> "HostCache":
        """See `KeyValueCache.slice`."""
        return HostCache(tuple(np.ascontiguousarray(array[:, :, start:stop]) for array in self.arrays))

    def followed_by(self, others: Sequence["HostCache"]) -> "HostCache":
        """See `KeyValueCache.followed_by`."""
        layers = zip(*(part.arrays for part in (self, *others)), strict=True)
        return HostCache(tuple(np.concatenate(layer, axis=2) for layer in layers))
