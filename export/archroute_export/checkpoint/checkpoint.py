"""What every checkpoint offers, whatever its format on disk."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.shape import ModelShape
from archroute_export.digest import Progress, sha256_files

CHATML_START = "<|im_start|>"
CHATML_END = "<|im_end|>"


class Checkpoint(ABC):
    """A trained model on disk: its shape, its tensors one at a time, its tokenizer and chat template.

    Tensors carry their Hugging Face names. Opening one reads headers alone and checks that every
    tensor is there with the right shape; every method raises `CheckpointError`.
    """

    kind: Literal["safetensors", "gguf"]

    def __init__(self, name: str, title: str, shape: ModelShape) -> None:
        """`name` is what messages call it, `title` what to call it on another machine: no path."""
        self.name = name
        self.title = title
        self.shape = shape
        self._digest: str | None = None

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Every tensor that `tensor` returns, embedding first and head last."""
        return tuple(self.shape.tensor_shapes())

    @abstractmethod
    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Read one tensor as C-contiguous float32; weights are `[out, in]`. The caller owns the copy."""

    @abstractmethod
    def tokenizer_json(self) -> str:
        """Return the tokenizer in the `tokenizers` library's own format."""

    @abstractmethod
    def chat_template(self) -> str | None:
        """Return the Jinja source of the chat template, or None if there is none."""

    @abstractmethod
    def special_tokens(self) -> Mapping[str, str]:
        """Return the text of `bos_token` and `eos_token`, those that there are: templates use them."""

    @abstractmethod
    def _read_digest(self, progress: Progress | None) -> str:
        """Return the digest of all that decides what the model computes."""

    @abstractmethod
    def _end_of_text_ids(self) -> Sequence[int]:
        """Return the token ids that end an answer, the likeliest end of a chat turn first."""

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, checked to fit the embedding."""
        try:
            tokenizer: Tokenizer = Tokenizer.from_str(self.tokenizer_json())
        except Exception as error:
            if isinstance(error, CheckpointError):
                raise
            # The library raises plain Exception for whatever it cannot parse.
            raise CheckpointError(f"{self.name}: the tokenizer cannot be read: {error}") from error
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= self.shape.vocabulary_size:
            raise CheckpointError(
                f"{self.name}: the tokenizer has token {largest}, but the embedding ends at "
                f"{self.shape.vocabulary_size - 1}; the two belong to different models"
            )
        return tokenizer

    @cached_property
    def end_of_turn(self) -> int:
        """The id of the token that ends an answer: ChatML's if it is in the vocabulary."""
        token: int | None = self.tokenizer.token_to_id(CHATML_END)
        if token is not None:
            return token
        for candidate in self._end_of_text_ids():
            if 0 <= candidate < self.shape.vocabulary_size:
                return candidate
        raise CheckpointError(
            f"{self.name}: no token ends an answer: the vocabulary has no {CHATML_END} and no "
            "eos_token of it is named"
        )

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the weights and what describes them; see `compute_digest`."""
        return self.compute_digest()

    def compute_digest(self, progress: Progress | None = None) -> str:
        """Read every weight file once and remember the result; `digest_files` says how it is made."""
        if self._digest is None:
            self._digest = self._read_digest(progress)
        return self._digest


def check_tensors(
    name: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare the tensors that a checkpoint holds with those that its shape implies.

    Raises `CheckpointError` for a missing tensor, a wrong shape, or a tensor inside a layer that the
    architecture does not have, since leaving that out would compute something else.
    """
    missing = [tensor for tensor in expected if tensor not in found]
    if missing:
        raise CheckpointError(f"{name}: {len(missing)} tensors are missing, the first is {missing[0]}")
    for tensor, shape in expected.items():
        if found[tensor] != shape:
            raise CheckpointError(
                f"{name}: {tensor} has the shape {list(found[tensor])}; expected {list(shape)}"
            )
    for tensor in found:
        # Old Llama checkpoints store a buffer that is computed from the config.
        if tensor.startswith("model.layers.") and tensor not in expected and not tensor.endswith("inv_freq"):
            raise CheckpointError(f"{name}: {tensor} has no place in this architecture")


def read_json_object(path: Path) -> dict[str, object]:
    """Read a file that holds one JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (RecursionError, ValueError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise CheckpointError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return value


def digest_files(paths: Sequence[Path], progress: Progress | None = None) -> str:
    """Return `sha256:<hex>` over files.

    Of one file it is that file's SHA-256. Of several it is what `sha256sum FILES | sha256sum` says in their
    folder, so that a person can check it. Raises `CheckpointError`.
    """
    try:
        digests = sha256_files(paths, progress)
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
    if len(digests) == 1:
        return f"sha256:{digests[0]}"
    listing = "".join(f"{digest}  {path.name}\n" for digest, path in zip(digests, paths, strict=True))
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
