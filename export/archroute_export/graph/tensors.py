"""Tensors: where a graph's weights come from."""

from typing import Protocol

from archroute_export.checkpoint.shape import ModelShape
from archroute_export.graph.weights import Floats


class Tensors(Protocol):
    """A model's shape and its tensors by their Hugging Face names; a `Checkpoint` is one."""

    @property
    def shape(self) -> ModelShape:
        """The model's dimensions."""

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Every name that `tensor` takes."""

    def tensor(self, name: str) -> Floats:
        """Return one tensor, weights as `[out, in]`."""
