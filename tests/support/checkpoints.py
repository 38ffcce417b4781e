"""Tiny checkpoints in the Hugging Face layout, written without torch.

The weights are random and the tokenizer is real: a byte-level BPE trained on a few sentences, with
Qwen2's normalizer and pre-tokenizer. Like Qwen2.5's, the head is wider than the tokenizer, and the
chat template adds a system message of its own to a conversation that has none.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from synthetic.tokenizer import CHAT_TEMPLATE, train_tokenizer

# Few enough merges that a policy's name takes several tokens.
TOKENIZER_SIZE = 400
VOCABULARY_SIZE = 640

_TRAINING_TEXT = (
    'You are a helpful assistant designed to find the best suited route. {"route": "code_generation"}',
    '{"route": "bug_fixing"} {"route": "code_review"} {"route": "other"} {"name": "", "description": ""}',
    "You are provided with route description within <routes></routes> XML tags.",
    '<conversation>\n[{"role": "user", "content": "Please fix this error in my program"}]\n</conversation>',
    "user assistant system: writing, data analysis, customer support, translation, summarization",
    "Your task is to decide which route is best suited with user intent on the conversation.",
)

StoredType = Literal["float32", "float16", "bfloat16"]


def write_tiny_checkpoint(
    folder: Path,
    family: Literal["qwen2", "llama"] = "qwen2",
    tied: bool = True,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    seed: int = 0,
    stored_type: StoredType = "float32",
    shards: int = 1,
    config_fields: Mapping[str, object] | None = None,
) -> dict[str, np.ndarray]:
    """Write a whole checkpoint into `folder` and return its tensors as float32, exactly as stored.

    `config_fields` are added to config.json; `attention_bias` brings a Llama's biases along.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(family, tied, layers, hidden, heads, kv_heads) | dict(config_fields or {})
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {"eos_token_id": [2, 0], "pad_token_id": 0, "do_sample": True, "repetition_penalty": 1.1},
    )
    _write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": CHAT_TEMPLATE,
        },
    )
    (folder / "tokenizer.json").write_text(tiny_tokenizer().to_str(), encoding="utf-8")

    dtype = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[stored_type]
    tensors = {name: array.astype(dtype) for name, array in random_tensors(config, seed).items()}
    _write_weights(folder, tensors, shards)
    return {name: array.astype(np.float32) for name, array in tensors.items()}


def tiny_config(
    family: Literal["qwen2", "llama"] = "qwen2",
    tied: bool = True,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
) -> dict[str, object]:
    """Return a config.json that transformers reads too."""
    return {
        "architectures": [{"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}[family]],
        "model_type": family,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": VOCABULARY_SIZE,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }


def random_tensors(config: dict[str, object], seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 weights by Hugging Face name, scaled so that activations neither vanish nor explode."""
    random = np.random.default_rng(seed)
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    head_size = hidden // int(config["num_attention_heads"])
    key_value = head_size * int(config["num_key_value_heads"])
    vocabulary = int(config["vocab_size"])

    def weight(outputs: int, inputs: int) -> np.ndarray:
        return (random.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)

    def bias(size: int) -> np.ndarray:
        return (0.2 * random.standard_normal(size)).astype(np.float32)

    def norm() -> np.ndarray:
        return (1 + 0.1 * random.standard_normal(hidden)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": weight(vocabulary, hidden)}
    for layer in range(int(config["num_hidden_layers"])):
        prefix = f"model.layers.{layer}."
        tensors[prefix + "input_layernorm.weight"] = norm()
        for projection, size in (("q", hidden), ("k", key_value), ("v", key_value)):
            tensors[f"{prefix}self_attn.{projection}_proj.weight"] = weight(size, hidden)
            if config["model_type"] == "qwen2" or config.get("attention_bias"):
                tensors[f"{prefix}self_attn.{projection}_proj.bias"] = bias(size)
        tensors[prefix + "self_attn.o_proj.weight"] = weight(hidden, hidden)
        if config.get("attention_bias"):
            tensors[prefix + "self_attn.o_proj.bias"] = bias(hidden)
        tensors[prefix + "post_attention_layernorm.weight"] = norm()
        tensors[prefix + "mlp.gate_proj.weight"] = weight(inner, hidden)
        tensors[prefix + "mlp.up_proj.weight"] = weight(inner, hidden)
        tensors[prefix + "mlp.down_proj.weight"] = weight(hidden, inner)
    tensors["model.norm.weight"] = norm()
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = weight(vocabulary, hidden)
    return tensors


def tiny_tokenizer(size: int = TOKENIZER_SIZE, texts: Sequence[str] = _TRAINING_TEXT) -> Tokenizer:
    """Train a byte-level BPE with Qwen2's rules; the special tokens are 0, 1 and 2."""
    return train_tokenizer(size, texts)


def _write_weights(folder: Path, tensors: dict[str, np.ndarray], shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        names = list(tensors)[shard::shards]
        save_file({name: tensors[name] for name in names}, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(names, file))
    size = sum(array.nbytes for array in tensors.values())
    _write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map}
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
