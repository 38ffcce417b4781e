"""A checkpoint of any shape with random weights, written tensor by tensor in bfloat16."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from archroute_export.checkpoint.shape import ModelShape
from synthetic.tokenizer import CHAT_TEMPLATE, SPECIAL_TOKENS, train_tokenizer

DEVIATION = 0.02
"""Of the weights, as a model begins its training with them."""

_END_OF_TURN = len(SPECIAL_TOKENS) - 1
# Random numbers are drawn once and written again and again from other places; a prime, so that rows differ.
_POOL_SIZE = 4_194_301


def write_random_checkpoint(
    folder: Path, config: Mapping[str, Any], texts: Iterable[str], tokenizer_size: int, seed: int = 0
) -> int:
    """Write a checkpoint into the new `folder`, and return how many parameters it has.

    `config` is what its config.json says of the shape. The tokenizer is trained on `texts`.
    """
    folder.mkdir(parents=True)
    complete = {**config, "eos_token_id": _END_OF_TURN, "torch_dtype": "bfloat16"}
    _write_json(folder / "config.json", complete)
    _write_json(folder / "generation_config.json", {"eos_token_id": _END_OF_TURN, "do_sample": False})
    _write_json(
        folder / "tokenizer_config.json",
        {"eos_token": SPECIAL_TOKENS[_END_OF_TURN], "chat_template": CHAT_TEMPLATE},
    )
    tokenizer = train_tokenizer(tokenizer_size, texts)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    shapes = ModelShape.from_config(complete).tensor_shapes()
    _write_weights(folder / "model.safetensors", shapes, np.random.default_rng(seed))
    return sum(math.prod(shape) for shape in shapes.values())


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
    pool = random.standard_normal(_POOL_SIZE, np.float32) * np.float32(DEVIATION)
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


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
