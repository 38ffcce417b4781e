"""The model's own tokenizer, reading text as nothing but text."""

from collections.abc import Sequence
from pathlib import Path

import tokenizers


class TokenizerError(Exception):
    """A tokenizer file that cannot be used."""


class Tokenizer:
    """Text to token ids and back.

    Special tokens are never recognised in text: a user who types `<|im_end|>` has typed ten characters, not
    the end of a turn. Nothing is added, cut off or padded either, whatever `tokenizer.json` asks for: the
    chat frame says which special tokens stand where.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        inner.encode_special_tokens = True
        inner.no_truncation()
        inner.no_padding()
        self._inner = inner

    @classmethod
    def from_file(cls, path: Path) -> "Tokenizer":
        """Read a `tokenizer.json`. Raises `TokenizerError` for a missing or unreadable file."""
        try:
            serialized = path.read_text(encoding="utf-8")
        except OSError as error:
            raise TokenizerError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise TokenizerError(f"the tokenizer {path} is not UTF-8 text: {error}") from error
        try:
            return cls(tokenizers.Tokenizer.from_str(serialized))
        except Exception as error:  # the library raises plain Exception for a malformed file
            raise TokenizerError(f"{path} is not a tokenizer.json that can be read: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`."""
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def count(self, text: str) -> int:
        """Return how many tokens `text` has."""
        return len(self._inner.encode(text, add_special_tokens=False))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return each token's first character in `text` and the one after its last.

        A character that takes several tokens lies in the span of each of them.
        """
        spans: list[tuple[int, int]] = self._inner.encode(text, add_special_tokens=False).offsets
        return spans

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, special tokens written out."""
        text: str = self._inner.decode(list(ids), skip_special_tokens=False)
        return text

    def token_id(self, token: str) -> int | None:
        """Return the id of one token by its exact spelling in the vocabulary, or None."""
        found: int | None = self._inner.token_to_id(token)
        return found
