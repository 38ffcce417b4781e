import hashlib
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_file import GgufFile
from archroute_export.checkpoint.shape import RopeScaling
from support.checkpoints import tiny_tokenizer
from support.gguf_checkpoints import write_tiny_gguf
from synthetic.tokenizer import CHAT_TEMPLATE

Q8_0 = gguf.GGMLQuantizationType.Q8_0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_reads_back_what_was_written(path: Path, family: str, tied: bool) -> None:
    written = write_tiny_gguf(path, family, tied)
    checkpoint = GgufFile(path)
    assert checkpoint.shape.family == family
    assert checkpoint.shape.tied_head is tied
    assert set(checkpoint.tensor_names) == set(written)
    for name in checkpoint.tensor_names:
        tensor = checkpoint.tensor(name)
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        np.testing.assert_array_equal(tensor, written[name])


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_quantized_rows_come_back_in_their_order(path: Path, kind: str) -> None:
    quantization = gguf.GGMLQuantizationType[kind]
    written = write_tiny_gguf(path, "llama", quantization=quantization)
    checkpoint = GgufFile(path)
    for name, array in written.items():
        tensor = checkpoint.tensor(name)
        expected = array
        if array.ndim == 2:  # quantization works along a row, so the order of the rows does not matter
            expected = gguf.quants.dequantize(gguf.quants.quantize(array, quantization), quantization)
        np.testing.assert_array_equal(tensor, expected)


def test_a_large_tensor_is_read_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_gguf(path, quantization=Q8_0)
    whole = GgufFile(path).tensor("model.embed_tokens.weight")
    monkeypatch.setattr("archroute_export.checkpoint.gguf_file._ROWS", 100)
    np.testing.assert_array_equal(GgufFile(path).tensor("model.embed_tokens.weight"), whole)


def test_reads_every_dimension(path: Path) -> None:
    write_tiny_gguf(path, "llama", metadata={"attention.key_length": 16, "rope.dimension_count": 16})
    shape = GgufFile(path).shape
    assert (shape.layers, shape.hidden_size, shape.intermediate_size) == (2, 64, 128)
    assert (shape.attention_heads, shape.key_value_heads, shape.head_size) == (4, 2, 16)
    assert (shape.vocabulary_size, shape.maximum_positions) == (640, 4096)
    assert (shape.norm_epsilon, shape.rope_theta) == (np.float32(1e-6), 10_000.0)
    assert (shape.rope_scaling, shape.attention_bias) == (None, False)


def test_the_digest_is_that_of_the_file(path: Path) -> None:
    write_tiny_gguf(path)
    assert GgufFile(path).digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_rebuilds_the_tokenizer(path: Path) -> None:
    write_tiny_gguf(path)
    checkpoint = GgufFile(path)
    assert checkpoint.tokenizer.get_vocab() == tiny_tokenizer().get_vocab()
    assert checkpoint.chat_template() == CHAT_TEMPLATE
    assert checkpoint.special_tokens() == {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    assert checkpoint.end_of_turn == 2


def test_an_unknown_pre_tokenizer_is_named(path: Path) -> None:
    write_tiny_gguf(path, pre_tokenizer="tekken")
    with pytest.raises(CheckpointError, match=r"model\.gguf: the pre-tokenizer is 'tekken'; known are"):
        GgufFile(path).tokenizer_json()


def llama3_divisors(factor: float) -> np.ndarray:
    """`rope_freqs.weight` as `LlamaModel.generate_extra_tensors` of llama.cpp's converter computes it."""
    low, high, original = 1.0, 4.0, 8192
    divisors = []
    for frequency in 10_000.0 ** -(np.arange(0, 16, 2) / 16):
        wavelength = 2 * np.pi / frequency
        if wavelength < original / high:
            divisors.append(1.0)
        elif wavelength > original / low:
            divisors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_recovers_the_rotary_scaling_of_llama3(path: Path, factor: float) -> None:
    write_tiny_gguf(path, extra_tensors={"rope_freqs.weight": llama3_divisors(factor)})
    assert GgufFile(path).shape.rope_scaling == RopeScaling("llama3", factor, 1.0, 4.0, 8192)


@pytest.mark.parametrize(
    "divisors",
    [
        np.full(8, 2.0),
        np.ones(4),
        np.linspace(1, 8, 8),
        np.zeros(8),
        np.full(8, np.nan),
        np.ones((2, 4)),
        np.empty(0),
    ],
)
def test_other_rotary_scaling_is_refused(path: Path, divisors: np.ndarray) -> None:
    write_tiny_gguf(path, extra_tensors={"rope_freqs.weight": divisors.astype(np.float32)})
    with pytest.raises(CheckpointError, match="not the rotary scaling of Llama 3"):
        GgufFile(path)


def test_reads_linear_scaling(path: Path) -> None:
    write_tiny_gguf(path, metadata={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0})
    assert GgufFile(path).shape.rope_scaling == RopeScaling("linear", 4.0)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"rope.scaling.type": "yarn"}, r"llama\.rope\.scaling\.type is 'yarn'; supported are 'linear'"),
        ({"expert_count": 8}, r"llama\.expert_count is set; a mixture of experts is not supported"),
        ({"attention.sliding_window": 4096}, "a sliding window is not supported"),
        ({"rope.dimension_count": 8}, "dimension_count is 8 with a head size of 16"),
        ({"attention.key_length": "16"}, "key_length is '16'; expected an integer"),
        ({"rope.scaling.type": 1}, "type is 1; expected text"),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 0.0}, "factor of the rotary scaling is 0.0"),
    ],
)
def test_refuses_what_it_would_compute_wrongly(
    path: Path, metadata: dict[str, int | float | str], message: str
) -> None:
    write_tiny_gguf(path, metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        GgufFile(path)


def test_an_unsupported_architecture_says_which_are_supported(path: Path) -> None:
    write_tiny_gguf(path, architecture="gemma2")
    message = r"model\.gguf: the architecture is not supported: gemma2\. Supported are llama and qwen2"
    with pytest.raises(CheckpointError, match=message):
        GgufFile(path)


def test_one_part_of_a_split_file_says_how_to_join_them(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match="llama-gguf-split --merge"):
        GgufFile(path)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("token_embd.weight", r"token_embd\.weight is missing"),
        ("blk.1.attn_q.weight", r"the first is model\.layers\.1\.self_attn\.q_proj\.weight"),
        ("output_norm.weight", r"the first is model\.norm\.weight"),
    ],
)
def test_a_missing_tensor_is_named(path: Path, left_out: str, message: str) -> None:
    write_tiny_gguf(path, left_out=left_out)
    with pytest.raises(CheckpointError, match=message):
        GgufFile(path)


def test_a_tensor_without_a_place_is_named(path: Path) -> None:
    write_tiny_gguf(path, extra_tensors={"blk.0.attn_q_norm.weight": np.ones(16, dtype=np.float32)})
    with pytest.raises(CheckpointError, match=r"model\.layers\.0\.attn_q_norm\.weight has no place"):
        GgufFile(path)


def test_a_tensor_type_that_cannot_be_read_is_named(path: Path) -> None:
    extra = {"blk.0.attn_norm.weight": np.ones(64, dtype=np.int8)}
    write_tiny_gguf(path, left_out="blk.0.attn_norm.weight", extra_tensors=extra)
    checkpoint = GgufFile(path)
    with pytest.raises(CheckpointError, match=r"input_layernorm\.weight is quantized as I8"):
        checkpoint.tensor("model.layers.0.input_layernorm.weight")


@pytest.mark.parametrize("kept", [4, 10, 30, 400, 3_000, 12_000, 30_000, -1_000])
def test_a_truncated_file_is_refused(path: Path, kept: int) -> None:
    write_tiny_gguf(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.gguf: cannot be read, it may be truncated"):
        GgufFile(path)


def header(*entries: bytes, tensors: int = 0) -> bytes:
    """The beginning of a file, with `entries` and so many tensors to follow."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(entries)) + b"".join(entries)


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


STRING, ARRAY, UINT32, UINT8 = 8, 9, 4, 0


@pytest.mark.parametrize(
    "content",
    [
        header(entry(b"a", ARRAY, struct.pack("<IQ", UINT32, 2**60))),
        header(entry(b"a", ARRAY, struct.pack("<IQ", UINT8, 2**23 + 1))),
        header(entry(b"a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 50_000)),
        header(entry(b"a", STRING, struct.pack("<Q", 2**63))),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        header(tensors=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 2**31),
        header(tensors=1) + struct.pack("<Q1sIQIQ", 1, b"a", 1, 2**40, 0, 0),
        header(tensors=1) + struct.pack("<Q1sIQIQ", 1, b"a", 1, 4, 0, 2**64 - 64) + b" " * 100,
    ],
    ids=[
        "a list of 2**60 numbers",
        "a list of too many numbers",
        "lists of lists",
        "a long text",
        "many tensors",
        "many entries",
        "many dimensions",
        "a large tensor",
        "an offset that comes round",
    ],
)
def test_no_size_is_believed_that_the_file_does_not_have(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.gguf: cannot be read, it may be truncated"):
        GgufFile(path)


def test_layers_are_not_believed_either(path: Path) -> None:
    write_tiny_gguf(path)
    # The two layers become 2**32 - 1; a key's value follows its name and its type.
    key = b"llama.block_count" + struct.pack("<I", UINT32)
    content = path.read_bytes()
    assert content.count(key + struct.pack("<I", 2)) == 1
    path.write_bytes(content.replace(key + struct.pack("<I", 2), key + b"\xff" * 4))
    with pytest.raises(CheckpointError, match="layers is 4294967295; at most 1024 are supported"):
        GgufFile(path)


def test_an_embedding_is_a_matrix(path: Path) -> None:
    extra = {"token_embd.weight": np.ones(64, dtype=np.float32)}
    write_tiny_gguf(path, left_out="token_embd.weight", extra_tensors=extra)
    with pytest.raises(CheckpointError, match=r"token_embd\.weight is missing, or is not a matrix"):
        GgufFile(path)


def test_a_special_token_beyond_the_vocabulary_is_none(path: Path) -> None:
    write_tiny_gguf(path)
    key = b"tokenizer.ggml.bos_token_id" + struct.pack("<I", UINT32)
    content = path.read_bytes()
    assert content.count(key + bytes(4)) == 1
    path.write_bytes(content.replace(key + bytes(4), key + b"\xff" * 4))
    assert GgufFile(path).special_tokens() == {"eos_token": "<|im_end|>"}


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 something else"])
def test_a_file_of_another_kind_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a GGUF file"):
        GgufFile(path)
