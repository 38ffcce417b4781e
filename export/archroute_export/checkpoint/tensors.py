"""Tensors: where weights come from, a checkpoint or one that was changed on the way."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.shape import ModelShape


class Tensors(Protocol):
    """A model's shape and its tensors by their Hugging Face names; a `Checkpoint` is one."""

    @property
    def shape(self) -> ModelShape:
        """The model's dimensions."""

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Every name that `tensor` takes."""

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Return one tensor, weights as `[out, in]`."""
