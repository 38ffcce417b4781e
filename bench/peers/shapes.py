"""The model shapes that are measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Of Qwen2.5, which Arch-Router-1.5B was trained from; `config.json` of its 0.5B and 1.5B models.
_QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "vocab_size": 151_936,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "initializer_range": 0.02,
}


@dataclass(frozen=True)
class Shape:
    """A model to measure with.

    `config` is that of a checkpoint with random weights; None stands for the embedded model, with the
    weights that it has. How fast a model computes does not depend on its weights.
    """

    name: str
    title: str
    config: Mapping[str, Any] | None = None

    @property
    def trained(self) -> bool:
        """Whether the weights are such that a choice means something."""
        return self.config is None


SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("135m", "135M: the embedded model, SmolLM2-135M-Instruct with its adapter"),
        Shape(
            "0.5b",
            "0.5B: the shape of Qwen2.5-0.5B, random weights",
            {
                **_QWEN2,
                "hidden_size": 896,
                "intermediate_size": 4864,
                "num_hidden_layers": 24,
                "num_attention_heads": 14,
                "num_key_value_heads": 2,
            },
        ),
        Shape(
            "1.5b",
            "1.5B: the shape of Arch-Router-1.5B, random weights",
            {
                **_QWEN2,
                "hidden_size": 1536,
                "intermediate_size": 8960,
                "num_hidden_layers": 28,
                "num_attention_heads": 12,
                "num_key_value_heads": 2,
            },
        ),
    )
}
