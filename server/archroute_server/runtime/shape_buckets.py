"""ShapeBuckets: the few shapes that forward passes are padded to where each new shape costs something.

A CUDA graph holds for one shape of every input, and a TensorRT profile for a range of them. A provider that
uses either runs every forward pass in one of a fixed number of shapes.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """What the sizes of all inputs and outputs of the graph follow from."""

    cached: int
    """P: tokens in the KV cache."""
    new: int
    """N: tokens that are read."""
    rows: int
    """M: rows to give logits for."""
    candidates: int
    """C: entries of the vocabulary to give logits for."""


@dataclass(frozen=True, slots=True)
class ShapeBuckets:
    """The sizes that each dimension of a `Shape` may have, in ascending order, each at least one."""

    cached: tuple[int, ...]
    """The first is 0, for a pass on top of nothing; every other is a multiple of 8."""
    new: tuple[int, ...]
    """Each is a multiple of 8, for which masked attention has its fast kernels; see `Provider`."""
    rows: tuple[int, ...]
    candidates: tuple[int, ...]

    def fit(self, shape: Shape) -> Shape | None:
        """Return the smallest bucket that `shape` fits into, None if there is none."""
        sizes = [
            _at_least(dimension, size)
            for dimension, size in (
                (self.cached, shape.cached),
                (self.new, shape.new),
                (self.rows, shape.rows),
                (self.candidates, shape.candidates),
            )
        ]
        if None in sizes:
            return None
        return Shape(*(size for size in sizes if size is not None))

    def __iter__(self) -> Iterator[Shape]:
        """Give every bucket, small ones first."""
        return (Shape(*sizes) for sizes in product(self.cached, self.new, self.rows, self.candidates))


def _at_least(sizes: tuple[int, ...], size: int) -> int | None:
    place = bisect_left(sizes, size)
    return sizes[place] if place < len(sizes) else None
