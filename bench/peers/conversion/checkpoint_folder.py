"""The checkpoint that all peers have in common, as Hugging Face lays it out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from archroute_export.checkpoint.adapted import AdaptedCheckpoint
from archroute_export.checkpoint.checkpoint import CHATML_END, Checkpoint
from archroute_export.checkpoint.open import EMBEDDED, open_adapter, open_checkpoint
from archroute_export.checkpoint.shape import ModelShape
from peers.shapes import Shape

_DEVIATION = 0.02


def embedded_model(say: Callable[[str], None]) -> Checkpoint:
    """Open the embedded model with its adapter. Raises `CheckpointError` if it cannot be fetched."""
    return AdaptedCheckpoint(open_checkpoint(EMBEDDED, announce=say), open_adapter(EMBEDDED))


def write_checkpoint(shape: Shape, embedded: Checkpoint, folder: Path) -> None:
    """Write a shape with its weights in one file, and with the embedded model's tokenizer."""
    if shape.config is None:
        config = _config_of(embedded.shape)
        tensors = {name: embedded.tensor(name) for name in embedded.tensor_names}
    else:
        config = dict(shape.config)
        tensors = _random_tensors(ModelShape.from_config(config))
    end_of_turn = embedded.end_of_turn
    config |= {"bos_token_id": end_of_turn, "eos_token_id": end_of_turn, "torch_dtype": _dtype(tensors)}
    # Says what its absence would; the builder of onnxruntime-genai cannot do without.
    config["rope_scaling"] = {"rope_type": "default"}
    folder.mkdir(parents=True)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"eos_token_id": end_of_turn, "do_sample": False})
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(embedded))
    (folder / "tokenizer.json").write_text(embedded.tokenizer_json(), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _config_of(shape: ModelShape) -> dict[str, Any]:
    """Write the `config.json` of a Llama without scaled positions, which the embedded model is."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.attention_heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_size,
        "vocab_size": shape.vocabulary_size,
        "max_position_embeddings": shape.maximum_positions,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied_head,
        "attention_bias": False,
        "mlp_bias": False,
    }


def _random_tensors(shape: ModelShape) -> dict[str, np.ndarray]:
    """Draw weights as a model begins its training with them, in bfloat16."""
    random = np.random.default_rng(0)
    tensors = {}
    for name, size in shape.tensor_shapes().items():
        if name.endswith("norm.weight"):
            values = np.ones(size, np.float32)
        else:
            values = random.standard_normal(size, np.float32) * np.float32(_DEVIATION)
        tensors[name] = values.astype(ml_dtypes.bfloat16)
    return tensors


def _dtype(tensors: Mapping[str, np.ndarray]) -> str:
    return next(iter(tensors.values())).dtype.name


def _tokenizer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "chat_template": checkpoint.chat_template(),
        "eos_token": CHATML_END,
        "bos_token": CHATML_END,
        "unk_token": CHATML_END,
        "pad_token": CHATML_END,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
