"""DeviceMemory: where a session's arrays lie, and how the keys and values of tokens are laid out there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from archroute_server.runtime.forward import FloatType

DEVICE_ID = 0
"""Which of several GPUs: ONNX Runtime's own default. `CUDA_VISIBLE_DEVICES` chooses another."""

WORD = np.dtype(np.int32)
"""What keys and values are copied as: copying looks at no value, so one graph copies every float type."""


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """Keys and values of `tokens` tokens in one piece of a device's memory, which begins at `memory`.

        [2 * layers, key_value_heads, tokens, head_size]

    with the key and the value of each layer in turn, so that each layer's array is a contiguous part that the
    model's graph can be bound to, and all layers together are one array to cut and join.
    """

    memory: ort.OrtValue
    tokens: int

    @property
    def address(self) -> int:
        """Where it begins; 0 if it has no tokens."""
        return int(self.memory.data_ptr()) if self.tokens else 0


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The memory of one device, as ONNX Runtime allocates it, for one model.

    `device` is ONNX Runtime's name of the device, "cuda" or "cpu". A block holds `arrays` arrays, two for
    each layer, of `heads` heads and `head_size` values of `float_type` for each token.
    """

    device: str
    arrays: int
    heads: int
    head_size: int
    float_type: FloatType

    def array(self, sizes: Sequence[int], dtype: npt.DTypeLike) -> ort.OrtValue:
        """Allocate an array, whose values are whatever was there."""
        return ort.OrtValue.ortvalue_from_shape_and_type(list(sizes), dtype, self.device, DEVICE_ID)

    def block(self, tokens: int) -> TokenBlock:
        """Allocate room for the keys and values of so many tokens."""
        return TokenBlock(self.array(self.word_sizes(tokens), WORD.type), tokens)

    def zeros(self, tokens: int) -> TokenBlock:
        """Allocate keys and values of so many tokens that are all zero."""
        block = self.block(tokens)
        if tokens:
            block.memory.update_inplace(np.zeros(self.word_sizes(tokens), WORD))
        return block

    def word_sizes(self, tokens: int) -> list[int]:
        """Return the sizes of a block of so many tokens in words."""
        return [self.arrays, self.heads, tokens, self.head_size * self.float_type.itemsize // WORD.itemsize]

    def layer_sizes(self, tokens: int) -> list[int]:
        """Return the sizes of one array of a block, as the model's graph takes it."""
        return [1, self.heads, tokens, self.head_size]

    def nbytes(self, tokens: int) -> int:
        """Return how many bytes so many tokens take."""
        return self.arrays * self.layer_nbytes(tokens)

    def layer_nbytes(self, tokens: int) -> int:
        """Return how many bytes one array of a block takes."""
        return self.heads * tokens * self.head_size * self.float_type.itemsize
