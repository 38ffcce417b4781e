"""SmoothedTensors: a checkpoint's tensors with their scales moved, which compute the same function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archroute_export.checkpoint.tensors import Tensors
from archroute_export.parity.reference import Floats
from archroute_export.smoothing.calibration import ChannelMaxima

# How far the difficulty moves from the activations to the weights; the paper's default.
ALPHA = 0.5


class SmoothedTensors:
    """The tensors of a checkpoint, smoothed.

    A few channels of the activations are far larger than the rest, and with one scale a token they leave
    the rest few of the 255 steps. Each channel j is divided by s[j], and the weights that read it are
    multiplied by s[j]:

        s = max|activation| ** ALPHA / max|weight| ** (1 - ALPHA)

    The division costs nothing at run time, because it is folded into the layer before: the norm in
    front of q, k, v and of gate, up; v_proj in front of o_proj; up_proj in front of down_proj.
    Source: SmoothQuant, arXiv 2211.10438, equations 3 and 4.
    """

    def __init__(self, tensors: Tensors, maxima: Sequence[ChannelMaxima]) -> None:
        self.shape = tensors.shape
        self.tensor_names = tensors.tensor_names
        self._tensors = tensors
        self._sizes = self.shape.tensor_shapes()
        self._factors: dict[str, _Factors] = {}
        for layer, layer_maxima in enumerate(maxima):
            self._smooth_layer(f"model.layers.{layer}.", layer_maxima)

    def tensor(self, name: str) -> Floats:
        """Return a tensor as the checkpoint has it, but for its scales."""
        tensor = self._tensors.tensor(name)
        factors = self._factors.get(name)
        return tensor if factors is None else factors.apply(tensor)

    def _smooth_layer(self, prefix: str, maxima: ChannelMaxima) -> None:
        attention, feed_forward = f"{prefix}self_attn.", f"{prefix}mlp."
        readers = [f"{attention}{name}_proj.weight" for name in "qkv"]
        self._move(maxima.attention_input, [f"{prefix}input_layernorm.weight"], readers)
        readers = [f"{feed_forward}{name}_proj.weight" for name in ("gate", "up")]
        self._move(maxima.feed_forward_input, [f"{prefix}post_attention_layernorm.weight"], readers)
        self._move(maxima.gated, [f"{feed_forward}up_proj.weight"], [f"{feed_forward}down_proj.weight"])
        self._move_through_heads(attention, maxima.attention_output)

    def _move(self, activation: Floats, writers: Sequence[str], readers: Sequence[str]) -> None:
        scales = _scales(activation, self._input_maxima(readers))
        for name in writers:
            self._of(name).outputs /= scales
        for name in readers:
            self._of(name).inputs *= scales

    def _move_through_heads(self, attention: str, activation: Floats) -> None:
        """The query heads of a group read the same values, so they share their scales."""
        shape = self.shape
        reader = f"{attention}o_proj.weight"
        groups = (shape.key_value_heads, -1, shape.head_size)
        shared = _scales(
            activation.reshape(groups).max(axis=1), self._input_maxima([reader]).reshape(groups).max(axis=1)
        )
        for part in ("weight", "bias"):
            if f"{attention}v_proj.{part}" in self.tensor_names:
                self._of(f"{attention}v_proj.{part}").outputs /= shared.ravel()
        repeated = np.repeat(shared[:, None], shape.attention_heads // shape.key_value_heads, axis=1)
        self._of(reader).inputs *= repeated.ravel()

    def _input_maxima(self, names: Sequence[str]) -> Floats:
        """Return the largest magnitude of the weights that read each channel."""
        maxima = [np.abs(self._tensors.tensor(name)).max(axis=0) for name in names]
        largest: Floats = np.stack(maxima).max(axis=0)
        return largest

    def _of(self, name: str) -> "_Factors":
        if name not in self._factors:
            sizes = self._sizes[name]
            self._factors[name] = _Factors(np.ones(sizes[0], np.float32), np.ones(sizes[-1], np.float32))
        return self._factors[name]


@dataclass(slots=True)
class _Factors:
    """What the outputs (rows) and the inputs (columns) of a tensor are multiplied by."""

    outputs: Floats
    inputs: Floats

    def apply(self, tensor: Floats) -> Floats:
        if tensor.ndim == 1:
            return tensor * self.outputs
        tensor = tensor * self.outputs[:, None]
        tensor *= self.inputs
        return tensor


def _scales(activation: Floats, weight: Floats) -> Floats:
    # A channel that is never used, or never read, is left alone.
    scales = np.maximum(activation, 1e-5) ** ALPHA / np.maximum(weight, 1e-5) ** (1 - ALPHA)
    return np.where((activation > 0) & (weight > 0), scales, 1).astype(np.float32)
