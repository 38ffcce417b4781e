"""Tiny GGUF files, laid out as llama.cpp's `convert_hf_to_gguf.py` lays them out."""

import json
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

from support.checkpoints import random_tensors, tiny_config, tiny_tokenizer
from synthetic.tokenizer import CHAT_TEMPLATE

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_tiny_gguf(
    path: Path,
    family: Literal["qwen2", "llama"] = "llama",
    tied: bool = True,
    quantization: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    architecture: str | None = None,
    metadata: dict[str, int | float | str] | None = None,
    extra_tensors: dict[str, np.ndarray] | None = None,
    left_out: str | None = None,
    pre_tokenizer: str = "qwen2",
    chat_template: str | None = CHAT_TEMPLATE,
) -> dict[str, np.ndarray]:
    """Write a whole model and return its tensors by Hugging Face name, as they were before quantization.

    `metadata` is added under the architecture's prefix.
    """
    config = tiny_config(family, tied)
    tensors = random_tensors(config)
    architecture = architecture or family
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    for key, value in (metadata or {}).items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        add(f"{architecture}.{key}", value)
    _add_tokenizer(writer, config["vocab_size"], pre_tokenizer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for name, array in tensors.items():
        stored = gguf_name(name)
        if stored == left_out:
            continue
        if family == "llama" and ".q_proj." in name:
            array = permuted(array, config["num_attention_heads"])
        if family == "llama" and ".k_proj." in name:
            array = permuted(array, config["num_key_value_heads"])
        kind = quantization if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(stored, gguf.quants.quantize(array, kind), raw_dtype=kind)
    for name, array in (extra_tensors or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def gguf_name(name: str) -> str:
    module, _, kind = name.rpartition(".")
    if module.startswith("model.layers."):
        layer, _, module = module.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{NAMES[module]}.{kind}"
    return f"{NAMES[module]}.{kind}"


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """`LlamaModel.permute` of llama.cpp's converter."""
    rows = weights.shape[0]
    return (
        weights.reshape(heads, 2, rows // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary_size: int, pre_tokenizer: str) -> None:
    tokenizer = tiny_tokenizer()
    size = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(id) for id in range(size)]
    types = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (size - 3)
    padding = range(size, vocabulary_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens + [f"[PAD{id}]" for id in padding])
    writer.add_token_types(types + [gguf.TokenType.UNUSED] * len(padding))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
