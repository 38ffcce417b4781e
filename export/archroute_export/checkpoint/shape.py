"""The dimensions of a decoder-only language model, and the tensors that they imply."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.errors import CheckpointError

Family = Literal["qwen2", "llama"]

# Far beyond the deepest of these families. A header of a few bytes can declare any number, and each layer is
# a dozen tensors to look for.
MAX_LAYERS = 1024

# Hugging Face class name -> family. The order is the one in which errors list them.
ARCHITECTURES: dict[str, Family] = {"Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}


@dataclass(frozen=True)
class RopeScaling:
    """How the rotary frequencies differ from `1 / theta ** (2i / head_size)`.

    - `linear`: all divided by `factor`.
    - `llama3`: long wavelengths divided by `factor`, short ones kept, those between blended
      (Llama 3.1; `transformers.modeling_rope_utils._compute_llama3_parameters`). Only this one reads
      the fields after `factor`.
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_maximum_positions: int = 8192

    def __post_init__(self) -> None:
        for field in ("factor", "high_frequency_factor", "original_maximum_positions"):
            if not 0 < getattr(self, field) < math.inf:
                raise CheckpointError(
                    f"the {field} of the rotary scaling is {getattr(self, field)}; "
                    "it must be finite and greater than zero"
                )

    def apply(self, frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the scaled frequencies, in radians per position, same shape `[head_size / 2]`."""
        if self.kind == "linear":
            return frequencies / self.factor
        turns = self.original_maximum_positions * frequencies / (2 * math.pi)
        low, high = self.low_frequency_factor, self.high_frequency_factor
        kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
        return frequencies * (kept + (1 - kept) / self.factor)


@dataclass(frozen=True)
class ModelShape:
    """Dimensions and constants of a model; all sizes count elements."""

    family: Family
    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    key_value_heads: int
    head_size: int
    vocabulary_size: int
    maximum_positions: int
    norm_epsilon: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tied_head: bool
    attention_bias: bool

    def __post_init__(self) -> None:
        for field in (
            "layers",
            "hidden_size",
            "intermediate_size",
            "attention_heads",
            "key_value_heads",
            "head_size",
            "vocabulary_size",
            "maximum_positions",
            "norm_epsilon",
            "rope_theta",
        ):
            if not 0 < getattr(self, field) < math.inf:
                raise CheckpointError(
                    f"{field} is {getattr(self, field)}; it must be finite and greater than zero"
                )
        if self.layers > MAX_LAYERS:
            raise CheckpointError(f"layers is {self.layers}; at most {MAX_LAYERS} are supported")
        if self.attention_heads % self.key_value_heads:
            raise CheckpointError(
                f"{self.attention_heads} attention heads cannot share "
                f"{self.key_value_heads} key/value heads evenly"
            )
        if self.head_size % 2:
            raise CheckpointError(f"the head size is {self.head_size}; rotary embedding needs an even one")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelShape":
        """Read a Hugging Face `config.json`.

        Absent fields take the defaults of transformers' `Qwen2Config` and `LlamaConfig`. Raises
        `CheckpointError` for anything that this project would compute wrongly.
        """
        family = _family(config)
        _refuse_unsupported(config, family)
        fields = _Fields(config)
        heads = fields.integer("num_attention_heads")
        hidden_size = fields.integer("hidden_size")
        rope = _rope_parameters(config)
        return cls(
            family=family,
            layers=fields.integer("num_hidden_layers"),
            hidden_size=hidden_size,
            intermediate_size=fields.integer("intermediate_size"),
            attention_heads=heads,
            key_value_heads=fields.integer("num_key_value_heads", heads),
            head_size=fields.integer("head_dim", hidden_size // heads if heads > 0 else 0),
            vocabulary_size=fields.integer("vocab_size"),
            maximum_positions=fields.integer("max_position_embeddings"),
            norm_epsilon=fields.number("rms_norm_eps", 1e-6),
            rope_theta=_Fields(rope).number("rope_theta", 10_000.0),
            rope_scaling=_rope_scaling(rope),
            tied_head=bool(config.get("tie_word_embeddings", False)),
            attention_bias=family == "qwen2" or bool(config.get("attention_bias", False)),
        )

    def rope_frequencies(self) -> npt.NDArray[np.float64]:
        """Return radians per position for each pair of a head's elements, shape `[head_size / 2]`."""
        exponents = np.arange(0, self.head_size, 2, dtype=np.float64) / self.head_size
        frequencies = self.rope_theta**-exponents
        return frequencies if self.rope_scaling is None else self.rope_scaling.apply(frequencies)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return every tensor that such a checkpoint holds, by its Hugging Face name.

        Weights are `[out, in]`. A tied head has no tensor of its own: it is `model.embed_tokens.weight`.
        """
        hidden, query = self.hidden_size, self.attention_heads * self.head_size
        key_value = self.key_value_heads * self.head_size
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocabulary_size, hidden)}
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            attention = prefix + "self_attn."
            shapes[prefix + "input_layernorm.weight"] = (hidden,)
            shapes[attention + "q_proj.weight"] = (query, hidden)
            shapes[attention + "k_proj.weight"] = (key_value, hidden)
            shapes[attention + "v_proj.weight"] = (key_value, hidden)
            shapes[attention + "o_proj.weight"] = (hidden, query)
            if self.attention_bias:
                shapes[attention + "q_proj.bias"] = (query,)
                shapes[attention + "k_proj.bias"] = (key_value,)
                shapes[attention + "v_proj.bias"] = (key_value,)
                if self.family == "llama":
                    shapes[attention + "o_proj.bias"] = (hidden,)
            shapes[prefix + "post_attention_layernorm.weight"] = (hidden,)
            shapes[prefix + "mlp.gate_proj.weight"] = (self.intermediate_size, hidden)
            shapes[prefix + "mlp.up_proj.weight"] = (self.intermediate_size, hidden)
            shapes[prefix + "mlp.down_proj.weight"] = (hidden, self.intermediate_size)
        shapes["model.norm.weight"] = (hidden,)
        if not self.tied_head:
            shapes["lm_head.weight"] = (self.vocabulary_size, hidden)
        return shapes


class _Fields:
    """Typed access to a JSON object, with errors that name the field."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CheckpointError(f"{name} is {value!r}; expected an integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CheckpointError(f"{name} is {value!r}; expected a number")
        try:
            return float(value)
        except OverflowError as error:  # JSON's integers have no end
            raise CheckpointError(f"{name} is too large for a number") from error

    def _value(self, name: str, default: float | None) -> object:
        value = self._values.get(name)
        if value is None:  # transformers writes null for "derive it"
            value = default
        if value is None:
            raise CheckpointError(f"{name} is missing")
        return value


def _family(config: Mapping[str, Any]) -> Family:
    named = config.get("architectures")
    architectures = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    for architecture in architectures:
        if architecture in ARCHITECTURES:
            return ARCHITECTURES[architecture]
    raise CheckpointError(
        f"the architecture is not supported: {', '.join(architectures) or 'none is named'}. "
        f"Supported are {' and '.join(ARCHITECTURES)}"
    )


def _refuse_unsupported(config: Mapping[str, Any], family: Family) -> None:
    layer_types = config.get("layer_types")
    sliding = isinstance(layer_types, list) and "sliding_attention" in layer_types
    if family == "qwen2" and (config.get("use_sliding_window") or sliding):
        raise CheckpointError("use_sliding_window is true; sliding-window attention is not supported")
    if config.get("mlp_bias"):
        raise CheckpointError("mlp_bias is true; biases in the feed-forward layers are not supported")
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise CheckpointError(f"hidden_act is {activation!r}; only 'silu' is supported")
    if config.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise CheckpointError("partial_rotary_factor is set; only full rotary embedding is supported")
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, Mapping) else quantization
        raise CheckpointError(
            f"the weights are already quantized ({method}); export the original checkpoint and "
            "choose a precision with --precision"
        )


def _rope_parameters(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge the two layouts: `rope_theta` + `rope_scaling`, and `rope_parameters` (transformers 5)."""
    merged: dict[str, Any] = {"rope_theta": config.get("rope_theta")}
    for field in ("rope_scaling", "rope_parameters"):
        value = config.get(field)
        if value is None:
            continue
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{field} is {value!r}; expected an object")
        merged.update(value)
    return merged


def _rope_scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    fields = _Fields(rope)
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", factor=_positive(fields.number("factor"), "factor"))
    if kind == "llama3":
        low, high = fields.number("low_freq_factor"), fields.number("high_freq_factor")
        if not 0 < low < high:
            raise CheckpointError(
                f"low_freq_factor is {low} and high_freq_factor {high}; expected 0 < low < high"
            )
        return RopeScaling(
            "llama3",
            factor=_positive(fields.number("factor"), "factor"),
            low_frequency_factor=low,
            high_frequency_factor=high,
            original_maximum_positions=fields.integer("original_max_position_embeddings"),
        )
    raise CheckpointError(f"rope_scaling is of type {kind!r}; supported are 'linear' and 'llama3'")


def _positive(value: float, name: str) -> float:
    if not value > 0:
        raise CheckpointError(f"{name} is {value}; it must be greater than zero")
    return value
