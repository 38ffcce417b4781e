"""Smoothing moves scales and changes no function."""

from pathlib import Path

import numpy as np
import pytest

from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.checkpoint.shape import ModelShape
from archroute_export.parity.case import ParityCase
from archroute_export.parity.reference import Floats, reference_logits
from archroute_export.smoothing.calibration import ChannelMaxima, calibrate
from archroute_export.smoothing.smoothed import SmoothedTensors
from support.checkpoints import write_tiny_checkpoint

CASES = [
    ParityCase((5, 6, 7, 8, 9, 10), ((11, 12), (13,)), np.arange(20)),
    ParityCase((30, 31, 32), ((33,),), np.arange(20)),
]


class Rescaled(SafetensorsFolder):
    """A checkpoint with a few channels that are far larger than the rest, as trained models have."""

    def tensor(self, name: str) -> Floats:
        tensor = super().tensor(name)
        if name.endswith(("layernorm.weight", "up_proj.weight", "v_proj.weight")):
            tensor[::7] *= 30
        return tensor


@pytest.fixture(params=["qwen2", "llama"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Rescaled:
    write_tiny_checkpoint(tmp_path, family=request.param)
    return Rescaled(tmp_path)


def test_the_function_stays_the_same(checkpoint: Rescaled) -> None:
    smoothed = SmoothedTensors(checkpoint, calibrate(checkpoint, CASES))
    changed = [
        name
        for name in checkpoint.tensor_names
        if not np.array_equal(checkpoint.tensor(name), smoothed.tensor(name))
    ]
    assert len(changed) > 8 * checkpoint.shape.layers
    before, after = reference_logits(checkpoint, CASES), reference_logits(smoothed, CASES)
    for one, other in zip(before, after, strict=True):
        for logits, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_the_activations_are_evener(checkpoint: Rescaled) -> None:
    def unevenness(maxima: list[ChannelMaxima]) -> float:
        return max(
            float(channels.max() / np.median(channels))
            for layer in maxima
            for channels in (layer.attention_input, layer.feed_forward_input, layer.gated)
        )

    maxima = calibrate(checkpoint, CASES)
    smoothed = SmoothedTensors(checkpoint, maxima)
    assert unevenness(calibrate(smoothed, CASES)) < unevenness(maxima) / 3


def test_the_maxima_are_those_of_each_linear_input(checkpoint: Rescaled) -> None:
    shape: ModelShape = checkpoint.shape
    maxima = calibrate(checkpoint, CASES)
    assert len(maxima) == shape.layers
    for layer in maxima:
        assert layer.attention_input.shape == layer.feed_forward_input.shape == (shape.hidden_size,)
        assert layer.attention_output.shape == (shape.attention_heads * shape.head_size,)
        assert layer.gated.shape == (shape.intermediate_size,)
        assert all((getattr(layer, name) >= 0).all() for name in ChannelMaxima.__slots__)


def test_a_channel_that_is_never_used_is_left_alone(checkpoint: Rescaled) -> None:
    maxima = calibrate(checkpoint, CASES)
    maxima[0].attention_input[3] = 0
    smoothed = SmoothedTensors(checkpoint, maxima)
    name = "model.layers.0.input_layernorm.weight"
    assert smoothed.tensor(name)[3] == checkpoint.tensor(name)[3]
    assert np.isfinite(smoothed.tensor("model.layers.0.self_attn.q_proj.weight")).all()
