import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.shape import ModelShape, RopeScaling
from support.checkpoints import random_tensors, tiny_config

LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_names_every_tensor_with_its_shape(family: str, tied: bool) -> None:
    config = tiny_config(family, tied)
    shape = ModelShape.from_config(config)
    assert shape.tensor_shapes() == {name: array.shape for name, array in random_tensors(config).items()}


def test_reads_every_dimension() -> None:
    shape = ModelShape.from_config(tiny_config("qwen2", tied=False, layers=3, hidden=96, heads=6, kv_heads=2))
    assert shape == ModelShape(
        family="qwen2",
        layers=3,
        hidden_size=96,
        intermediate_size=192,
        attention_heads=6,
        key_value_heads=2,
        head_size=16,
        vocabulary_size=640,
        maximum_positions=4096,
        norm_epsilon=1e-6,
        rope_theta=10_000.0,
        rope_scaling=None,
        tied_head=False,
        attention_bias=True,
    )


def test_absent_fields_take_the_defaults_of_transformers() -> None:
    config = tiny_config("llama")
    for field in ("num_key_value_heads", "rms_norm_eps", "rope_theta", "tie_word_embeddings"):
        del config[field]
    shape = ModelShape.from_config({**config, "head_dim": None})
    assert (shape.key_value_heads, shape.head_size) == (4, 16)
    assert (shape.norm_epsilon, shape.rope_theta, shape.tied_head) == (1e-6, 10_000.0, False)


def test_a_head_size_of_its_own_widens_the_projections() -> None:
    shape = ModelShape.from_config({**tiny_config("llama"), "head_dim": 32})
    assert shape.tensor_shapes()["model.layers.0.self_attn.q_proj.weight"] == (128, 64)
    assert shape.tensor_shapes()["model.layers.0.self_attn.o_proj.weight"] == (64, 128)


def test_llama_with_attention_bias_has_one_on_the_output_too() -> None:
    shape = ModelShape.from_config({**tiny_config("llama"), "attention_bias": True})
    assert shape.tensor_shapes()["model.layers.1.self_attn.o_proj.bias"] == (64,)


def test_reads_the_rope_parameters_of_transformers_5() -> None:
    config = tiny_config("llama")
    del config["rope_theta"]
    shape = ModelShape.from_config({**config, "rope_parameters": {**LLAMA3_SCALING, "rope_theta": 500_000.0}})
    assert shape.rope_theta == 500_000.0
    assert shape.rope_scaling == RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)


def test_linear_scaling_divides_every_frequency() -> None:
    plain = ModelShape.from_config(tiny_config())
    scaled = ModelShape.from_config({**tiny_config(), "rope_scaling": {"type": "linear", "factor": 4.0}})
    np.testing.assert_allclose(scaled.rope_frequencies() * 4, plain.rope_frequencies())


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones() -> None:
    config = {**tiny_config("llama"), "head_dim": 64, "rope_theta": 500_000.0}
    plain = ModelShape.from_config(config).rope_frequencies()
    scaled = ModelShape.from_config({**config, "rope_scaling": LLAMA3_SCALING}).rope_frequencies()
    wavelengths = 2 * math.pi / plain
    np.testing.assert_array_equal(scaled[wavelengths < 8192 / 4], plain[wavelengths < 8192 / 4])
    np.testing.assert_allclose(scaled[wavelengths > 8192] * 8, plain[wavelengths > 8192])
    between = (wavelengths > 8192 / 4) & (wavelengths < 8192)
    assert between.any()
    assert (scaled[between] < plain[between]).all()
    assert (scaled[between] > plain[between] / 8).all()


@pytest.mark.oracle
@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 4.0}, LLAMA3_SCALING])
def test_frequencies_are_those_of_transformers(scaling: dict[str, object] | None) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = {**tiny_config("llama"), "head_dim": 64, "rope_theta": 500_000.0, "rope_scaling": scaling}
    oracle = LlamaRotaryEmbedding(LlamaConfig(**config)).inv_freq
    np.testing.assert_allclose(ModelShape.from_config(config).rope_frequencies(), oracle.numpy(), rtol=2e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["MistralForCausalLM"]},
            "not supported: MistralForCausalLM. Supported are Qwen2ForCausalLM and LlamaForCausalLM",
        ),
        ({"architectures": None}, "not supported: none is named"),
        ({"architectures": [["Qwen2ForCausalLM"]]}, "not supported: none is named"),
        ({"architectures": "Qwen2ForCausalLM"}, "not supported: none is named"),
        ({"use_sliding_window": True}, "sliding-window attention is not supported"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding-window attention"),
        ({"mlp_bias": True}, "mlp_bias is true"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"already quantized \(gptq\)"),
        ({"quantization_config": "fp8"}, r"already quantized \(fp8\)"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "of type 'yarn'; supported are 'linear'"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor is 0.0; it must be greater"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor is missing"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'; expected an object"),
        ({"rope_scaling": {**LLAMA3_SCALING, "high_freq_factor": 1.0}}, "expected 0 < low < high"),
        ({"hidden_size": "64"}, "hidden_size is '64'; expected an integer"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True; expected an integer"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small'; expected a number"),
        ({"vocab_size": None}, "vocab_size is missing"),
        ({"num_hidden_layers": 0}, "layers is 0; it must be finite and greater than zero"),
        ({"num_attention_heads": 0}, "must be finite and greater than zero"),
        ({"num_key_value_heads": 3}, "4 attention heads cannot share 3 key/value heads"),
        ({"head_dim": 15}, "head size is 15; rotary embedding needs an even one"),
        ({"rms_norm_eps": math.nan}, "norm_epsilon is nan"),
        ({"rope_theta": math.inf}, "rope_theta is inf"),
        ({"rope_theta": 10**400}, "rope_theta is too large for a number"),
        ({"num_hidden_layers": 10**12}, "layers is 1000000000000; at most 1024 are supported"),
        (
            {"rope_scaling": {"rope_type": "linear", "factor": math.inf}},
            "factor of the rotary scaling is inf",
        ),
        (
            {"rope_scaling": {**LLAMA3_SCALING, "original_max_position_embeddings": 0}},
            "original_maximum_positions of the rotary scaling is 0",
        ),
    ],
)
def test_refuses_what_it_would_compute_wrongly(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ModelShape.from_config({**tiny_config(), **changes})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)
FIELDS = [*tiny_config(), "rope_scaling", "rope_parameters", "layer_types", "quantization_config", "head_dim"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_a_config_says_the_error_is_a_checkpoint_error(changes: dict[str, object]) -> None:
    try:
        shape = ModelShape.from_config({**tiny_config("llama"), **changes})
    except CheckpointError:
        return
    assert shape.head_size > 0
