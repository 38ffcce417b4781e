"""A checkpoint in one GGUF file, the format of llama.cpp.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, ReaderTensor
from gguf.quants import dequantize

from archroute_export.checkpoint.checkpoint import Checkpoint, check_tensors, digest_files
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_tokenizer import tokenizer_json
from archroute_export.checkpoint.shape import Family, ModelShape, RopeScaling
from archroute_export.digest import Progress

# `general.architecture` -> family.
ARCHITECTURES: dict[str, Family] = {"llama": "llama", "qwen2": "qwen2"}

MAGIC = b"GGUF"

_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ROPE_DIVISORS = "rope_freqs.weight"

# The reader makes an array of some hundred bytes of each value in a list. The largest vocabularies with their
# merges have a tenth of this.
_MOST_LISTED_VALUES = 1 << 23

# Rows dequantized at a time: the intermediate arrays of a large embedding would double its size.
_ROWS = 4096


class GgufFile(Checkpoint):
    """A `.gguf` file of the llama or qwen2 architecture, quantized or not."""

    kind = "gguf"

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Read the header of `path`; `name` is what to call it, by default its path."""
        self.path = path
        title = name or path.name
        name = name or str(path)
        reader = _open(path)
        self._metadata = Metadata(reader, name)
        self._tensors = {_canonical_name(tensor.name): tensor for tensor in reader.tensors}
        try:
            shape = _shape(self._metadata, self._tensors)
        except CheckpointError as error:
            raise CheckpointError(f"{name}: {error}") from error
        super().__init__(name, title, shape)
        found = {
            tensor: tuple(int(size) for size in reversed(stored.shape))
            for tensor, stored in self._tensors.items()
        }
        check_tensors(name, shape.tensor_shapes(), found)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Dequantize one tensor to C-contiguous float32; weights are `[out, in]`. The caller owns it."""
        if name not in self._tensors:
            raise CheckpointError(f"{self.name}: there is no tensor {name}")
        try:
            values = _dequantized(self._tensors[name])
        except NotImplementedError as error:
            kind = self._tensors[name].tensor_type.name
            raise CheckpointError(
                f"{self.name}: {name} is quantized as {kind}, which cannot be read; "
                "use a file in F16, BF16, Q8_0 or one of the common K-quants"
            ) from error
        if self.shape.family == "llama":
            heads = {"q_proj": self.shape.attention_heads, "k_proj": self.shape.key_value_heads}
            for projection, count in heads.items():
                if f".{projection}." in name:
                    return _unpermuted(values, count)
        return values

    def tokenizer_json(self) -> str:
        """Rebuild the tokenizer from the metadata."""
        return self._rebuilt_tokenizer

    def chat_template(self) -> str | None:
        """Return the Jinja source of the chat template, or None if there is none."""
        return self._metadata.text("tokenizer.chat_template", None)

    def special_tokens(self) -> Mapping[str, str]:
        """Return the text of `bos_token` and `eos_token`, those that there are."""
        tokens = {}
        for role in ("bos", "eos"):
            token = self._metadata.integer(f"tokenizer.ggml.{role}_token_id", -1)
            known = 0 <= token < self.shape.vocabulary_size
            text = self.tokenizer.id_to_token(token) if known else None
            if text is not None:
                tokens[f"{role}_token"] = text
        return tokens

    @cached_property
    def _rebuilt_tokenizer(self) -> str:
        try:
            return tokenizer_json(self._metadata.values("tokenizer.ggml."))
        except CheckpointError as error:
            raise CheckpointError(f"{self.name}: {error}") from error

    def _read_digest(self, progress: Progress | None) -> str:
        return digest_files([self.path], progress)

    def _end_of_text_ids(self) -> Sequence[int]:
        ids = (self._metadata.integer(f"tokenizer.ggml.{role}_token_id", -1) for role in ("eot", "eos"))
        return [token for token in ids if token >= 0]


class Metadata:
    """Typed access to the key/value pairs of a GGUF header."""

    def __init__(self, reader: GGUFReader, name: str) -> None:
        self._fields = reader.fields
        self._name = name

    def text(self, key: str, default: str | None) -> str | None:
        """Return a string, or `default` when the key is absent."""
        value = self._value(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise CheckpointError(f"{key} is {reprlib.repr(value)}; expected text")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer. Raises `CheckpointError` when it is absent and there is no default."""
        value = self._value(key)
        if value is None:
            value = default
        if value is None:
            raise CheckpointError(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int):
            raise CheckpointError(f"{key} is {reprlib.repr(value)}; expected an integer")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number, or `default` when the key is absent."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CheckpointError(f"{key} is {reprlib.repr(value)}; expected a number")
        return float(value)

    def values(self, prefix: str) -> dict[str, Any]:
        """Return every value whose key starts with `prefix`, by the rest of the key."""
        return {key.removeprefix(prefix): self._value(key) for key in self._fields if key.startswith(prefix)}

    def _value(self, key: str) -> Any:
        field = self._fields.get(key)
        if field is None:
            return None
        try:
            return field.contents()
        except (IndexError, ValueError) as error:  # ValueError covers text that is not UTF-8
            raise CheckpointError(f"{self._name}: {key} cannot be read: {error}") from error


class _Reader(GGUFReader):
    """Maps the file as a plain array: slicing a `numpy.memmap`, for each token, is three times slower.

    And believes no length that the header declares: the reader of the library sees nothing past the end of
    the file, so it would go through a list of 2**60 numbers that are not there.
    """

    _listed_values = 0

    def _get(
        self,
        offset: int,
        dtype: npt.DTypeLike,
        count: int = 1,
        override_order: Literal["I", "S", "<"] | None = None,
    ) -> npt.NDArray[Any]:
        end = int(offset) + np.dtype(dtype).itemsize * int(count)
        if end > len(self.data):
            raise ValueError(f"it ends at byte {len(self.data)}, before byte {end}")
        return super()._get(offset, dtype, count, override_order)

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[npt.NDArray[Any]], list[int], list[GGUFValueType]]:
        if raw_type == GGUFValueType.ARRAY:
            # Behind the type of its values.
            self._listed_values += int(self._get(orig_offs + 4, np.uint64)[0])
            if self._listed_values > _MOST_LISTED_VALUES:
                raise ValueError(f"its lists have more than {_MOST_LISTED_VALUES} values")
        return super()._get_field_parts(orig_offs, raw_type)

    @property  # type: ignore[override]  # declared as a memmap, used as an array
    def data(self) -> npt.NDArray[np.uint8]:
        """The bytes of the file; they stay mapped as long as any view of them lives."""
        return self._data

    @data.setter
    def data(self, mapped: npt.NDArray[np.uint8]) -> None:
        self._data = mapped.view(np.ndarray)


def _open(path: Path) -> GGUFReader:
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        if magic != MAGIC:
            raise CheckpointError(f"{path}: not a GGUF file")
        # Offsets are added as unsigned numbers, which else come round to the beginning of the file.
        with np.errstate(over="raise"):
            reader = _Reader(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    # ArithmeticError for offsets beyond any file, RecursionError for lists of lists of lists.
    except (ArithmeticError, IndexError, KeyError, RecursionError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read, it may be truncated ({error}). Download or copy it again."
        ) from error
    if reader.byte_order != "I":
        raise CheckpointError(f"{path}: written for machines of the other byte order")
    return reader


def _canonical_name(name: str) -> str:
    """Translate a GGUF tensor name; one without a counterpart keeps its own inside its layer."""
    if name in _NAMES:
        return _NAMES[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    if match is None:
        return name
    layer, module, kind = match.groups()
    return f"model.layers.{layer}.{_LAYER_NAMES.get(module, module)}.{kind}"


def _shape(metadata: Metadata, tensors: Mapping[str, ReaderTensor]) -> ModelShape:
    architecture = metadata.text("general.architecture", None)
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"the architecture is not supported: {architecture}. Supported are {' and '.join(ARCHITECTURES)}"
        )
    if metadata.integer("split.count", 1) > 1:
        raise CheckpointError(
            "this is one part of a split file; join the parts with `llama-gguf-split --merge` first"
        )
    for key, what in (("expert_count", "mixture of experts"), ("attention.sliding_window", "sliding window")):
        if metadata.integer(f"{architecture}.{key}", 0) > 0:
            raise CheckpointError(f"{architecture}.{key} is set; a {what} is not supported")
    embedding = tensors.get("model.embed_tokens.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise CheckpointError("token_embd.weight is missing, or is not a matrix")
    heads = metadata.integer(f"{architecture}.attention.head_count")
    hidden_size = metadata.integer(f"{architecture}.embedding_length")
    head_size = metadata.integer(
        f"{architecture}.attention.key_length", hidden_size // heads if heads > 0 else 0
    )
    rotated = metadata.integer(f"{architecture}.rope.dimension_count", head_size)
    if rotated != head_size:
        raise CheckpointError(
            f"{architecture}.rope.dimension_count is {rotated} with a head size of {head_size}; "
            "only full rotary embedding is supported"
        )
    family = ARCHITECTURES[architecture]
    shape = ModelShape(
        family=family,
        layers=metadata.integer(f"{architecture}.block_count"),
        hidden_size=hidden_size,
        intermediate_size=metadata.integer(f"{architecture}.feed_forward_length"),
        attention_heads=heads,
        key_value_heads=metadata.integer(f"{architecture}.attention.head_count_kv", heads),
        head_size=head_size,
        vocabulary_size=int(embedding.shape[-1]),
        maximum_positions=metadata.integer(f"{architecture}.context_length"),
        norm_epsilon=metadata.number(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-6),
        rope_theta=metadata.number(f"{architecture}.rope.freq_base", 10_000.0),
        rope_scaling=_linear_scaling(metadata, architecture),
        tied_head="lm_head.weight" not in tensors,
        attention_bias=family == "qwen2" or "model.layers.0.self_attn.q_proj.bias" in tensors,
    )
    if _ROPE_DIVISORS in tensors:
        return replace(shape, rope_scaling=_llama3_scaling(shape, tensors[_ROPE_DIVISORS]))
    return shape


def _linear_scaling(metadata: Metadata, architecture: str) -> RopeScaling | None:
    kind = metadata.text(f"{architecture}.rope.scaling.type", "none")
    if kind == "none":
        return None
    if kind != "linear":
        raise CheckpointError(
            f"{architecture}.rope.scaling.type is {kind!r}; supported are 'linear' and Llama 3's own"
        )
    return RopeScaling("linear", factor=metadata.number(f"{architecture}.rope.scaling.factor", 1.0))


def _llama3_scaling(shape: ModelShape, tensor: ReaderTensor) -> RopeScaling:
    """Recover the parameters from the divisor of each frequency, which is all that GGUF keeps.

    Llama 3.1, 3.2 and 3.3 differ in the factor alone, which is the divisor of the longest wavelength.
    """
    other = CheckpointError(f"{_ROPE_DIVISORS} is not the rotary scaling of Llama 3; it is not supported")
    if tensor.tensor_type != GGMLQuantizationType.F32 or tensor.shape.tolist() != [shape.head_size // 2]:
        raise other
    divisors = _dequantized(tensor)
    if not np.all((divisors > 0) & np.isfinite(divisors)):
        raise other
    scaling = RopeScaling("llama3", factor=float(divisors.max()))
    with np.errstate(all="ignore"):  # what comes of an absurd rope_theta is not close to anything
        plain = replace(shape, rope_scaling=None).rope_frequencies()
        close = np.allclose(plain / divisors, scaling.apply(plain), rtol=1e-5)
    if not close:
        raise other
    return scaling


def _dequantized(tensor: ReaderTensor) -> npt.NDArray[np.float32]:
    stored = tensor.data
    shape = tuple(int(size) for size in reversed(tensor.shape))
    values = np.empty(shape, dtype=np.float32)
    for start in range(0, len(stored), _ROWS):
        values[start : start + _ROWS] = dequantize(stored[start : start + _ROWS], tensor.tensor_type)
    return values


def _unpermuted(values: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Undo llama.cpp's row order of the query and key projections, weights and biases alike.

    It rotates neighbouring elements, so its converter interleaves the halves of each head, which the
    Hugging Face layout rotates against one another:

        one head of 6:  a0 a1 a2 b0 b1 b2   ->   a0 b0 a1 b1 a2 b2
    """
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
