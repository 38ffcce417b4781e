"""The real embedded model: what is read of it against what transformers reads, and known token ids."""

import numpy as np
import pytest

from archroute_export.checkpoint import embedded
from archroute_export.checkpoint.adapted import AdaptedCheckpoint
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.open import open_adapter, open_checkpoint
from archroute_export.checkpoint.template import chat_frame

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint("embedded")


def test_its_shape(checkpoint: Checkpoint) -> None:
    shape = checkpoint.shape
    assert (shape.family, shape.layers, shape.tied_head) == ("llama", 30, True)
    assert (shape.hidden_size, shape.intermediate_size, shape.vocabulary_size) == (576, 1536, 49_152)
    assert (shape.attention_heads, shape.key_value_heads, shape.head_size) == (9, 3, 64)
    assert (shape.maximum_positions, shape.rope_theta, shape.rope_scaling) == (8192, 100_000.0, None)
    assert checkpoint.digest == f"sha256:{embedded.MODEL.digest}"


def test_its_adapter_fits_it(checkpoint: Checkpoint) -> None:
    adapted = AdaptedCheckpoint(checkpoint, open_adapter("embedded"))
    projections = [name for name in checkpoint.tensor_names if name.endswith("_proj.weight")]
    assert len(projections) == 7 * 30
    assert all(adapted.adapter.changes(name.removesuffix(".weight")) for name in projections)


# Token ids of HuggingFaceTB/SmolLM2-135M-Instruct.
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello, we can use", [19556, 28, 392, 416, 722]),
        ("The capital of France is", [504, 3575, 282, 4649, 314]),
        ("\n", [198]),
        ("Hello world! 123", [19556, 905, 17, 216, 33, 34, 35]),
        ("Café déjà vu.", [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30]),
        ("  multiple   spaces", [216, 2701, 256, 5600]),
    ],
)
def test_its_tokenizer(checkpoint: Checkpoint, text: str, ids: list[int]) -> None:
    assert checkpoint.tokenizer.encode(text).ids == ids
    assert checkpoint.tokenizer.decode(ids) == text


def test_its_special_tokens(checkpoint: Checkpoint) -> None:
    added = checkpoint.tokenizer.get_added_tokens_decoder()
    assert sorted(added) == list(range(17))
    assert all(token.special for token in added.values())
    assert checkpoint.tokenizer.get_vocab_size() == 49_152
    assert checkpoint.end_of_turn == checkpoint.tokenizer.token_to_id("<|im_end|>") == 2


def test_its_chat_frame(checkpoint: Checkpoint) -> None:
    start, end = {"token": 1, "text": "<|im_start|>"}, {"token": 2, "text": "<|im_end|>"}
    system = "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert chat_frame(checkpoint).to_json() == [
        *(start, {"text": system}, end, {"text": "\n"}),
        *(start, {"text": "user\n"}, {"prompt": True}, end, {"text": "\n"}),
        *(start, {"text": "assistant\n"}),
    ]


@pytest.mark.oracle
@pytest.mark.slow
def test_its_tensors_are_those_that_transformers_reads(checkpoint: Checkpoint) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    path = embedded.fetch()
    with torch.device("meta"):  # it takes names alone from the model
        names = LlamaForCausalLM(LlamaConfig(**load_gguf_checkpoint(path)["config"]))
    oracle = load_gguf_checkpoint(path, return_tensors=True, model_to_load=names)["tensors"]
    assert set(checkpoint.tensor_names) == set(oracle)
    for name, tensor in oracle.items():
        np.testing.assert_array_equal(checkpoint.tensor(name), tensor.numpy(), err_msg=name)
