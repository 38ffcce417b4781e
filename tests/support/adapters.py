"""Tiny LoRA adapters in PEFT's format, written without torch."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

from support.checkpoints import StoredType

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# What PEFT writes into every config, as far as it says something.
PLAIN_CONFIG: Mapping[str, object] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "tiny",
    "alpha_pattern": {},
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "loftq_config": {},
    "lora_dropout": 0.1,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "qalora_group_size": 16,
    "rank_pattern": {},
    "use_dora": False,
    "use_rslora": False,
}


def write_tiny_adapter(
    folder: Path,
    base: Mapping[str, np.ndarray],
    rank: int = 4,
    alpha: float = 8.0,
    targets: Sequence[str] = PROJECTIONS,
    seed: int = 1,
    stored_type: StoredType = "float32",
    config_fields: Mapping[str, object] | None = None,
    training: Mapping[str, object] | None = None,
) -> dict[str, np.ndarray]:
    """Write an adapter with random matrices for the tensors of a base; return them as float32, as stored.

    `training` is what `archroute finetune` adds. A rank other than `rank` needs `config_fields` and an edit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    dtype = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[stored_type]
    tensors = {}
    for name, weight in base.items():
        module = name.removesuffix(".weight")
        if module.endswith(tuple(f".{target}" for target in targets)) and weight.ndim == 2:
            outputs, inputs = weight.shape
            for part, size in (("A", (rank, inputs)), ("B", (outputs, rank))):
                values = 0.2 * random.standard_normal(size)
                tensors[f"base_model.model.{module}.lora_{part}.weight"] = values.astype(dtype)
    config = {**PLAIN_CONFIG, "r": rank, "lora_alpha": alpha, "target_modules": list(targets)}
    (folder / "adapter_config.json").write_text(json.dumps(config | dict(config_fields or {})))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    if training is not None:
        (folder / "training.json").write_text(json.dumps(training))
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def edit_config(folder: Path, **changes: object) -> None:
    """Change fields of an adapter's config."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change an adapter's tensors."""
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
