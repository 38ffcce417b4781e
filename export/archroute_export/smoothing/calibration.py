"""Calibration: how large each channel of a linear layer's input becomes on real prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from archroute_export.checkpoint.tensors import Tensors
from archroute_export.parity.case import ParityCase, read_cases
from archroute_export.parity.reference import Floats, Progress, reference_logits
from archroute_server.router.encoder import PromptEncoder


@dataclass(frozen=True, slots=True)
class ChannelMaxima:
    """The largest magnitude of each channel of one layer's linear inputs."""

    attention_input: Floats
    """`[hidden_size]`: what q, k and v are computed from."""
    attention_output: Floats
    """`[attention_heads * head_size]`: what o_proj is computed from."""
    feed_forward_input: Floats
    """`[hidden_size]`: what gate and up are computed from."""
    gated: Floats
    """`[intermediate_size]`: what down_proj is computed from."""


def calibration_cases(encoder: PromptEncoder, end_of_turn: int) -> list[ParityCase]:
    """Return the prompts to calibrate on, other than those that parity is checked on."""
    content = resources.files(__package__) / "prompts.yaml"
    return read_cases(content.read_text(encoding="utf-8"), encoder, end_of_turn)


def calibrate(
    tensors: Tensors, cases: Sequence[ParityCase], progress: Progress | None = None
) -> list[ChannelMaxima]:
    """Run the reference over `cases` and return the maxima of each layer."""
    maxima: list[dict[str, Floats]] = [{} for _ in range(tensors.shape.layers)]

    def observe(layer: int, name: str, states: Floats) -> None:
        maxima[layer][name] = np.abs(states).max(axis=0)

    reference_logits(tensors, cases, progress, observe)
    return [ChannelMaxima(**layer) for layer in maxima]
