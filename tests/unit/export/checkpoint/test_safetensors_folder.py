import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from support.checkpoints import tiny_config, write_tiny_checkpoint
from synthetic.tokenizer import CHAT_TEMPLATE

QUERY = "model.layers.0.self_attn.q_proj.weight"


def edit_json(path: Path, **changes: object) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def edit_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize(("tied", "shards"), [(True, 1), (False, 3)])
@pytest.mark.parametrize("stored_type", ["float32", "float16", "bfloat16"])
def test_reads_back_what_was_written(
    tmp_path: Path, family: str, tied: bool, shards: int, stored_type: str
) -> None:
    written = write_tiny_checkpoint(tmp_path, family, tied, shards=shards, stored_type=stored_type)
    checkpoint = SafetensorsFolder(tmp_path)
    assert set(checkpoint.tensor_names) == set(written)
    assert checkpoint.tensor_names[0] == "model.embed_tokens.weight"
    for name in checkpoint.tensor_names:
        tensor = checkpoint.tensor(name)
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        np.testing.assert_array_equal(tensor, written[name])


@pytest.mark.oracle
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard_size", ["1GB", "100KB"])
def test_reads_what_transformers_saves(tmp_path: Path, tied: bool, shard_size: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    for config_class, model_class in ((Qwen2Config, Qwen2ForCausalLM), (LlamaConfig, LlamaForCausalLM)):
        fields = tiny_config("qwen2" if config_class is Qwen2Config else "llama", tied)
        model = model_class(config_class(**fields))
        folder = tmp_path / fields["model_type"]
        model.save_pretrained(folder, max_shard_size=shard_size)
        assert (folder / "model.safetensors").exists() == (shard_size == "1GB")
        checkpoint = SafetensorsFolder(folder)
        parameters = dict(model.named_parameters())
        assert set(checkpoint.tensor_names) == set(parameters)
        for name, parameter in parameters.items():
            np.testing.assert_array_equal(checkpoint.tensor(name), parameter.detach().numpy())


def test_a_tied_checkpoint_may_store_the_head_again(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, tied=False)
    edit_json(tmp_path / "config.json", tie_word_embeddings=True)
    assert "lm_head.weight" not in SafetensorsFolder(tmp_path).tensor_names


def test_the_digest_is_what_sha256sum_says(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, shards=2)
    files = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    listing = "".join(
        f"{hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()}  {file}\n" for file in files
    )
    seen: list[tuple[int, int]] = []
    checkpoint = SafetensorsFolder(tmp_path)
    digest = checkpoint.compute_digest(lambda done, total: seen.append((done, total)))
    assert digest == checkpoint.digest == f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
    size = sum((tmp_path / file).stat().st_size for file in files)
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_digest_changes_with_the_weights_and_the_config(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    original = SafetensorsFolder(tmp_path).digest
    edit_tensors(tmp_path, lambda tensors: tensors.update({QUERY: tensors[QUERY] + 1}))
    changed = SafetensorsFolder(tmp_path).digest
    edit_json(tmp_path / "config.json", rope_theta=20_000.0)
    assert len({original, changed, SafetensorsFolder(tmp_path).digest}) == 3


def test_a_file_deleted_after_opening_is_named(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    checkpoint = SafetensorsFolder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        _ = checkpoint.digest
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: {QUERY} cannot be read"):
        checkpoint.tensor(QUERY)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    write_tiny_checkpoint(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read, it may be truncated"):
        SafetensorsFolder(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00003\.safetensors is missing"):
        SafetensorsFolder(tmp_path)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "sub/model.safetensors"])
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, shard: str) -> None:
    write_tiny_checkpoint(tmp_path, shards=2)
    edit_json(tmp_path / "model.safetensors.index.json", weight_map={QUERY: shard})
    with pytest.raises(CheckpointError, match="not the name of a file in the same folder"):
        SafetensorsFolder(tmp_path)


def test_a_shard_whose_name_no_file_can_have_is_refused(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, shards=2)
    edit_json(tmp_path / "model.safetensors.index.json", weight_map={QUERY: "a" * 300})
    with pytest.raises(CheckpointError, match="cannot be a file: File name too long"):
        SafetensorsFolder(tmp_path)


def test_a_shard_whose_name_is_no_text_is_named_as_it_can_be_printed(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, shards=2)
    edit_json(tmp_path / "model.safetensors.index.json", weight_map={QUERY: "\ud83d"})
    with pytest.raises(CheckpointError, match=r"\\ud83d is missing") as caught:
        SafetensorsFolder(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(QUERY), f"1 tensors are missing, the first is {QUERY}"),
        (
            lambda tensors: tensors.update({QUERY: np.ones((8, 64), np.float32)}),
            rf"{QUERY} has the shape \[8, 64\]; expected \[64, 64\]",
        ),
        (
            lambda tensors: tensors.update({QUERY: np.ones((64, 64), np.int8)}),
            f"{QUERY} is stored as I8; expected one of F32, F16, BF16",
        ),
        (
            lambda tensors: tensors.update(
                {"model.layers.0.self_attn.q_norm.weight": np.ones(16, np.float32)}
            ),
            r"model\.layers\.0\.self_attn\.q_norm\.weight has no place in this architecture",
        ),
    ],
)
def test_wrong_tensors_are_named(tmp_path: Path, change: Callable[..., object], message: str) -> None:
    write_tiny_checkpoint(tmp_path)
    edit_tensors(tmp_path, change)
    with pytest.raises(CheckpointError, match=message):
        SafetensorsFolder(tmp_path)


def test_a_buffer_of_old_llama_checkpoints_is_ignored(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, "llama")
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    edit_tensors(tmp_path, lambda tensors: tensors.update({name: np.ones(8, np.float32)}))
    assert name not in SafetensorsFolder(tmp_path).tensor_names


def test_a_bad_config_is_named(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    edit_json(tmp_path / "config.json", architectures=["GPT2LMHeadModel"])
    with pytest.raises(CheckpointError, match=r"config\.json: the architecture is not supported"):
        SafetensorsFolder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: not valid JSON"):
        SafetensorsFolder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"config\.json: expected a JSON object"):
        SafetensorsFolder(tmp_path)
    (tmp_path / "config.json").write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json: not valid JSON"):
        SafetensorsFolder(tmp_path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("notes.txt", "not a checkpoint folder"),
        ("adapter_config.json", "an adapter; name its base model as the source"),
        ("model.gguf", r"name one of them, for example .*model\.gguf"),
    ],
)
def test_a_folder_without_a_config_says_what_it_is(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / file).touch()
    with pytest.raises(CheckpointError, match=message):
        SafetensorsFolder(tmp_path)


def test_weights_in_another_format_say_how_to_convert_them(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds pytorch_model\.bin: save .*safe_serialization"):
        SafetensorsFolder(tmp_path)


def test_a_missing_or_foreign_tokenizer_is_named(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {}}')
    with pytest.raises(CheckpointError, match="the tokenizer cannot be read"):
        _ = SafetensorsFolder(tmp_path).tokenizer
    path.unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing; save it with transformers"):
        _ = SafetensorsFolder(tmp_path).tokenizer


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    edit_json(tmp_path / "config.json", vocab_size=390)
    edit_tensors(
        tmp_path,
        lambda tensors: tensors.update(
            {"model.embed_tokens.weight": tensors["model.embed_tokens.weight"][:390].copy()}
        ),
    )
    with pytest.raises(CheckpointError, match="the tokenizer has token 399, but the embedding ends at 389"):
        _ = SafetensorsFolder(tmp_path).tokenizer


def test_the_chat_template_comes_from_its_own_file_first(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    assert SafetensorsFolder(tmp_path).chat_template() == CHAT_TEMPLATE
    named = [
        {"name": "tool_use", "template": "tools"},
        {"name": ["default"], "template": "not a name"},
        {"name": "default", "template": "plain"},
    ]
    edit_json(tmp_path / "tokenizer_config.json", chat_template=named)
    assert SafetensorsFolder(tmp_path).chat_template() == "plain"
    (tmp_path / "chat_template.jinja").write_text("from its file")
    assert SafetensorsFolder(tmp_path).chat_template() == "from its file"


def test_a_checkpoint_may_have_no_chat_template(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    checkpoint = SafetensorsFolder(tmp_path)
    assert checkpoint.chat_template() is None
    assert checkpoint.special_tokens() == {}


def test_special_tokens_may_be_serialized_objects(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    token = {"__type": "AddedToken", "content": "<|endoftext|>", "special": True}
    edit_json(tmp_path / "tokenizer_config.json", bos_token=token)
    tokens = SafetensorsFolder(tmp_path).special_tokens()
    assert tokens == {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}


def without_chatml(folder: Path) -> None:
    """Rename ChatML's tokens, the way a Llama 3 vocabulary has others."""
    path = folder / "tokenizer.json"
    text = path.read_text().replace("<|im_end|>", "<|eot_id|>").replace("<|im_start|>", "<|header|>")
    path.write_text(text)


def test_the_end_of_turn_is_chatml_where_there_is_one(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", eos_token="<|endoftext|>")
    edit_json(tmp_path / "generation_config.json", eos_token_id=0)
    assert SafetensorsFolder(tmp_path).end_of_turn == 2


@pytest.mark.parametrize(
    ("tokenizer_eos", "generation_eos", "config_eos", "expected"),
    [
        ("<|eot_id|>", [0, 1, 2], 0, 2),  # Llama 3: of three, the one that ends a turn
        ("<|endoftext|>", 2, 2, 2),  # the tokenizer's is of the base model
        ("<|eot_id|>", None, None, 2),
        (None, [1, 0], 2, 1),
        (None, None, 2, 2),
    ],
)
def test_the_end_of_turn_otherwise_is_what_the_files_say(
    tmp_path: Path,
    tokenizer_eos: str | None,
    generation_eos: object,
    config_eos: object,
    expected: int,
) -> None:
    write_tiny_checkpoint(tmp_path)
    without_chatml(tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", eos_token=tokenizer_eos)
    edit_json(tmp_path / "generation_config.json", eos_token_id=generation_eos)
    edit_json(tmp_path / "config.json", eos_token_id=config_eos)
    assert SafetensorsFolder(tmp_path).end_of_turn == expected


@pytest.mark.parametrize("token", [-1, 640, 2**40])
def test_an_end_of_turn_that_is_no_token_is_an_error(tmp_path: Path, token: int) -> None:
    write_tiny_checkpoint(tmp_path)
    without_chatml(tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", eos_token=None)
    edit_json(tmp_path / "generation_config.json", eos_token_id=token)
    edit_json(tmp_path / "config.json", eos_token_id=None)
    with pytest.raises(CheckpointError, match="no token ends an answer"):
        _ = SafetensorsFolder(tmp_path).end_of_turn


def test_no_end_of_turn_is_an_error(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    without_chatml(tmp_path)
    edit_json(tmp_path / "config.json", eos_token_id=None)
    (tmp_path / "generation_config.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="no token ends an answer"):
        _ = SafetensorsFolder(tmp_path).end_of_turn
