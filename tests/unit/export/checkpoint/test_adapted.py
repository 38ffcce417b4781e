"""A base with an adapter merged into it: by hand, against PEFT itself, and what does not go together."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import save_file

from archroute_export.checkpoint.adapted import AdaptedCheckpoint
from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_file import GgufFile
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.parity.case import ParityCase
from archroute_export.parity.reference import reference_logits
from support.adapters import PLAIN_CONFIG, edit_config, edit_tensors, write_tiny_adapter
from support.checkpoints import StoredType, write_tiny_checkpoint
from support.gguf_checkpoints import write_tiny_gguf

QUERY = "model.layers.0.self_attn.q_proj"
LORA_A, LORA_B = (f"base_model.model.{QUERY}.lora_{part}.weight" for part in "AB")


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    write_tiny_checkpoint(tmp_path / "base")
    return SafetensorsFolder(tmp_path / "base")


@pytest.fixture
def folder(base: Checkpoint, tmp_path: Path) -> Path:
    """An adapter of every projection of `base`."""
    folder = tmp_path / "router-adapter"
    write_tiny_adapter(folder, {name: base.tensor(name) for name in base.tensor_names})
    return folder


# What is computed.


def test_a_change_worked_by_hand(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({**PLAIN_CONFIG, "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]})
    )
    first = np.array([[1, 0, 2], [0, 1, -1]], np.float32)
    second = np.array([[1, 2], [3, 4]], np.float32)
    save_file({LORA_A: first, LORA_B: second}, tmp_path / "adapter_model.safetensors")
    # B @ A = [[1, 2, 0], [3, 4, 2]], and alpha / rank = 3.
    np.testing.assert_array_equal(Adapter(tmp_path).change(QUERY), [[3, 6, 0], [9, 12, 6]])


@pytest.mark.parametrize("stored_type", ["float32", "float16", "bfloat16"])
def test_only_the_targets_change(base: Checkpoint, tmp_path: Path, stored_type: StoredType) -> None:
    weights = {name: base.tensor(name) for name in base.tensor_names}
    stored = write_tiny_adapter(
        tmp_path / "adapter",
        weights,
        rank=2,
        alpha=3.0,
        targets=("v_proj", "down_proj"),
        stored_type=stored_type,
        config_fields={"layers_to_transform": [0, 1]},
    )
    adapted = AdaptedCheckpoint(base, Adapter(tmp_path / "adapter"))
    assert adapted.tensor_names == base.tensor_names
    for name, weight in weights.items():
        found = adapted.tensor(name)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        prefix = f"base_model.model.{name.removesuffix('weight')}lora_"
        if name.endswith(("v_proj.weight", "down_proj.weight")):
            product = stored[f"{prefix}B.weight"].astype(float) @ stored[f"{prefix}A.weight"].astype(float)
            np.testing.assert_allclose(found, weight + 1.5 * product, rtol=0, atol=1e-6)
            assert not np.array_equal(found, weight)
        else:
            np.testing.assert_array_equal(found, weight)


def test_everything_else_is_the_base(base: Checkpoint, folder: Path) -> None:
    adapted = AdaptedCheckpoint(base, Adapter(folder))
    assert (adapted.name, adapted.title, adapted.kind) == (base.name, base.title, base.kind)
    assert adapted.shape == base.shape
    assert adapted.tokenizer_json() == base.tokenizer_json()
    assert adapted.chat_template() == base.chat_template()
    assert adapted.special_tokens() == base.special_tokens()
    assert adapted.end_of_turn == base.end_of_turn


def test_a_gguf_file_takes_an_adapter_too(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf")
    base = GgufFile(tmp_path / "tiny.gguf")
    weights = {name: base.tensor(name) for name in base.tensor_names}
    write_tiny_adapter(tmp_path / "adapter", weights)
    adapter = Adapter(tmp_path / "adapter")
    adapted = AdaptedCheckpoint(base, adapter)
    assert adapted.kind == "gguf"
    name = f"{QUERY}.weight"
    np.testing.assert_array_equal(adapted.tensor(name), weights[name] + adapter.change(QUERY))


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "v_proj"], "use_rslora": True, "layers_to_transform": [1]},
        {
            "target_modules": ["q_proj", "o_proj", "up_proj", "down_proj"],
            "exclude_modules": ["layers.0.mlp.up_proj"],
            "rank_pattern": {"down_proj": 3, r"layers\.1\..*q_proj": 5},
            "alpha_pattern": {"o_proj": 20},
        },
    ],
    ids=["all", "some of one layer", "ranks and alphas"],
)
def test_merging_equals_the_base_plus_the_adapter_of_peft(
    tmp_path: Path, family: Literal["qwen2", "llama"], settings: dict[str, Any]
) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    write_tiny_checkpoint(tmp_path / "base", family)

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32).eval()

    torch.manual_seed(0)
    fresh = get_peft_model(load(), LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, **settings))
    for name, parameter in fresh.named_parameters():
        if ".lora_" in name:  # a fresh B is zero
            torch.nn.init.normal_(parameter, std=0.2)
    fresh.save_pretrained(tmp_path / "adapter")
    oracle = PeftModel.from_pretrained(load(), tmp_path / "adapter")

    tokens = [5, 17, 300, 42, 9, 88]
    answer = (7, 301)
    case = ParityCase(prompt=tuple(tokens), answers=(answer,), candidates=np.arange(640))
    base = SafetensorsFolder(tmp_path / "base")
    adapted = AdaptedCheckpoint(base, Adapter(tmp_path / "adapter"))
    [[found]] = reference_logits(adapted, [case])
    with torch.inference_mode():
        expected = oracle(torch.tensor([[*tokens, *answer]])).logits[0, len(tokens) - 1 :].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    [[plain]] = reference_logits(base, [case])
    assert np.abs(found - plain).max() > 0.1


# What it is called.


def test_the_digest_covers_base_and_adapter(base: Checkpoint, folder: Path) -> None:
    listing = "".join(
        f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n"
        for file in ("adapter_config.json", "adapter_model.safetensors")
    )
    adapter = Adapter(folder)
    assert adapter.digest == f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
    both = f"{base.digest}\n{adapter.digest}\n"
    adapted = AdaptedCheckpoint(base, adapter)
    assert adapted.digest == f"sha256:{hashlib.sha256(both.encode()).hexdigest()}"
    edit_config(folder, lora_alpha=9)
    assert AdaptedCheckpoint(base, Adapter(folder)).digest != adapted.digest


def test_the_title_holds_no_path(folder: Path) -> None:
    assert Adapter(folder).title == "router-adapter"
    assert Adapter(folder).name == str(folder)


def test_what_it_was_trained_on_is_said_if_it_is_known(folder: Path) -> None:
    plain = Adapter(folder)
    assert (plain.prompt, plain.base_digest) == (None, None)
    training = {"prompt": "archroute/compact", "base": {"name": "tiny", "digest": "sha256:1"}, "steps": 5}
    (folder / "training.json").write_text(json.dumps(training))
    trained = Adapter(folder)
    assert (trained.prompt, trained.base_digest) == ("archroute/compact", "sha256:1")
    assert trained.digest == plain.digest


# What cannot be read.


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"nowhere: there is no such folder\. Name the one that 'archroute"
    ):
        Adapter(tmp_path / "nowhere")


def test_a_file_is_not_a_folder(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"not a folder\. Name the one that holds adapter_config\.json and"
    ):
        Adapter(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_that_is_missing_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=rf"there is no {file}; this is not a LoRA adapter of PEFT's$"):
        Adapter(folder)


def test_a_pickled_adapter_is_told_how_to_become_one_that_is_read(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="save the adapter again with safe_serialization=True"):
        Adapter(folder)


def test_truncated_weights_are_named(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(
        CheckpointError, match=r"adapter_model\.safetensors: cannot be read, it may be truncated"
    ):
        Adapter(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('{"prompt": 1}', "prompt is 1; expected text"),
        ('{"base": {"digest": []}}', r"digest is \[\]; expected text"),
    ],
)
def test_a_malformed_training_file_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "training.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"training\.json: {message}"):
        _ = Adapter(folder).prompt, Adapter(folder).base_digest


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.model.layers.0.mlp.experts.lora_A.weight",
        "base_model.model.model.norm.weight",
        f"base_model.model.{QUERY}.lora_magnitude_vector.weight",
        f"base_model.model.{QUERY}.lora_B.bias",
        f"{QUERY}.lora_A.weight",
    ],
)
def test_a_tensor_that_changes_something_else_is_named(folder: Path, name: str) -> None:
    edit_tensors(folder, lambda tensors: tensors.update({name: np.zeros((4, 64), np.float32)}))
    with pytest.raises(CheckpointError, match=rf"{name} cannot be merged: only adapters of q_proj, k_proj"):
        Adapter(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(folder: Path, value: float) -> None:
    edit_tensors(folder, lambda tensors: np.put(tensors[LORA_B], 3, value))
    with pytest.raises(CheckpointError, match=rf"{LORA_B} holds values that are not finite"):
        Adapter(folder)


def test_integers_are_refused(folder: Path) -> None:
    edit_tensors(folder, lambda tensors: tensors.update({LORA_B: np.zeros((64, 4), np.int8)}))
    with pytest.raises(CheckpointError, match=rf"{LORA_B} is stored as I8; expected one of F32, F16, BF16"):
        Adapter(folder)


# What does not go together.


def test_a_wider_base_is_refused_with_both_shapes(folder: Path, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "wide", hidden=128)
    wide = SafetensorsFolder(tmp_path / "wide")
    with pytest.raises(CheckpointError) as caught:
        AdaptedCheckpoint(wide, Adapter(folder))
    assert str(caught.value) == (
        f"{folder}/adapter_model.safetensors: {LORA_A} has the shape [4, 64], but {tmp_path}/wide with the "
        "rank in adapter_config.json takes [4, 128]; was the adapter trained on another base?"
    )


def test_a_deeper_base_is_refused(folder: Path, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "deep", layers=3)
    with pytest.raises(
        CheckpointError, match=r"14 tensors are missing, the first is .*layers\.2\.self_attn\.q"
    ):
        AdaptedCheckpoint(SafetensorsFolder(tmp_path / "deep"), Adapter(folder))


def test_a_shallower_base_is_refused(folder: Path, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "shallow", layers=1)
    with pytest.raises(
        CheckpointError, match=r"layers\.1\..* is of a layer that .* does not have, which has 1"
    ):
        AdaptedCheckpoint(SafetensorsFolder(tmp_path / "shallow"), Adapter(folder))


@pytest.mark.parametrize("fields", [{"r": 8}, {"rank_pattern": {"q_proj": 8}}])
def test_a_rank_that_is_not_that_of_the_config_is_refused(
    base: Checkpoint, folder: Path, fields: dict[str, object]
) -> None:
    edit_config(folder, **fields)
    with pytest.raises(CheckpointError, match=rf"{LORA_A} has the shape \[4, 64\], .* takes \[8, 64\]"):
        AdaptedCheckpoint(base, Adapter(folder))


@pytest.mark.parametrize("name", [LORA_A, LORA_B])
def test_a_tensor_that_is_missing_is_named(base: Checkpoint, folder: Path, name: str) -> None:
    edit_tensors(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(CheckpointError, match=rf"1 tensors are missing, the first is {name}; adapter_config"):
        AdaptedCheckpoint(base, Adapter(folder))


def test_a_tensor_that_the_config_does_not_name_is_refused(base: Checkpoint, folder: Path) -> None:
    edit_config(folder, target_modules=["k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])
    with pytest.raises(CheckpointError, match=rf"{LORA_A} is there, but adapter_config\.json does not name"):
        AdaptedCheckpoint(base, Adapter(folder))
