"""A checkpoint with the true shape of Arch-Router-1.5B and random weights, written tensor by tensor."""

import json
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import ml_dtypes
import numpy as np

from archroute_export.checkpoint.shape import ModelShape
from support.checkpoints import CHAT_TEMPLATE, tiny_tokenizer

# From the config.json of Qwen2.5-1.5B-Instruct, which Arch-Router-1.5B was trained from.
CONFIG: dict[str, object] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}
INITIAL_DEVIATION = 0.02
# Enough merges that the prompt's words are one token each, as they are to the true tokenizer.
_TOKENIZER_SIZE = 4000
# Random numbers are drawn once and written again and again from other places; a prime, so that rows differ.
_POOL_SIZE = 4_194_301


def write_full_size_checkpoint(folder: Path, seed: int = 0) -> int:
    """Write about 3 GB of bfloat16 weights into `folder` and return how many parameters they are."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|im_end|>", "chat_template": CHAT_TEMPLATE}), encoding="utf-8"
    )
    texts = [path.read_text(encoding="utf-8") for path in _texts()]
    tokenizer = tiny_tokenizer(_TOKENIZER_SIZE, texts)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    shapes = ModelShape.from_config(CONFIG).tensor_shapes()
    _write_weights(folder / "model.safetensors", shapes, np.random.default_rng(seed))
    return sum(math.prod(shape) for shape in shapes.values())


def _texts() -> Iterator[Path]:
    prompts = resources.files("archroute_server.router") / "prompts" / "arch-router"
    yield Path(str(prompts / "model-card.txt"))
    yield Path(str(resources.files("archroute_export.parity") / "prompts.yaml"))


def _write_weights(path: Path, shapes: dict[str, tuple[int, ...]], random: np.random.Generator) -> None:
    """Write a safetensors file: the length of the header, the header, the tensors one behind another.

    Format: https://github.com/huggingface/safetensors#format
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    pool = random.standard_normal(_POOL_SIZE, np.float32) * np.float32(INITIAL_DEVIATION)
    noise = np.tile(pool.astype(ml_dtypes.bfloat16).view(np.uint16), 2)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, shape in shapes.items():
            size = math.prod(shape)
            if name.endswith("norm.weight"):
                file.write(np.ones(size, ml_dtypes.bfloat16).tobytes())
                continue
            for written in range(0, size, _POOL_SIZE):
                start = int(random.integers(_POOL_SIZE))
                file.write(noise[start : start + min(_POOL_SIZE, size - written)].data)
