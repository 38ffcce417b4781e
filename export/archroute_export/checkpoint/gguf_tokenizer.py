"""The tokenizer inside a GGUF file, rebuilt in the `tokenizers` library's own format.

GGUF stores the vocabulary and the merges of a byte-level BPE, but of its pre-tokenizer only a name
(`tokenizer.ggml.pre`), which llama.cpp's converter gives by recognising the original. What each name
stands for is taken from the tokenizer.json of the models it was given for; llama.cpp's
`src/llama-vocab.cpp` holds the same patterns in its own dialect.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archroute_export.checkpoint.errors import CheckpointError

# `tokenizer.ggml.token_type`, gguf.TokenType.
_CONTROL = 3
_USER_DEFINED = 4
_UNUSED = 5

# OpenAI's cl100k pattern, in the two forms that differ in how many digits make a piece.
_CL100K_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SINGLE_DIGITS = _CL100K_PATTERN.replace("DIGITS", r"\p{N}")
_DIGIT_TRIPLES = _CL100K_PATTERN.replace("DIGITS", r"\p{N}{1,3}")


@dataclass(frozen=True)
class _Rules:
    """How a text is cut into pieces before any merge."""

    pre_tokenizers: tuple[Mapping[str, Any], ...]
    normalizer: Mapping[str, Any] | None = None
    # Take a piece that is in the vocabulary whole, even where the merges would not build it.
    ignore_merges: bool = False


def _byte_level(use_regex: bool) -> dict[str, Any]:
    """GPT-2's own pattern when `use_regex`, else the mapping of bytes to characters alone."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": use_regex}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


_DIGITS = {"type": "Digits", "individual_digits": True}
_RULES = {
    "gpt-2": _Rules((_byte_level(True),)),
    "smollm": _Rules((_DIGITS, _byte_level(True))),
    "starcoder": _Rules((_DIGITS, _byte_level(True))),
    "qwen2": _Rules((_split(_SINGLE_DIGITS), _byte_level(False)), normalizer={"type": "NFC"}),
    "llama-bpe": _Rules((_split(_DIGIT_TRIPLES), _byte_level(False)), ignore_merges=True),
}


def tokenizer_json(metadata: Mapping[str, Any]) -> str:
    """Build a `tokenizer.json`.

    Args:
        metadata: the values under `tokenizer.ggml.`, by the rest of their keys: `model`, `pre`,
            `tokens`, `token_type`, `merges`.

    Raises:
        CheckpointError: an unknown kind of tokenizer or pre-tokenizer, or lists that do not fit.
    """
    model, pre = metadata.get("model"), metadata.get("pre")
    if model != "gpt2":
        raise CheckpointError(
            f"the tokenizer is of type {model!r}; only byte-level BPE ('gpt2') can be rebuilt. "
            "Export the original checkpoint folder instead, which has a tokenizer.json"
        )
    rules = _RULES.get(str(pre))
    if rules is None:
        raise CheckpointError(
            f"the pre-tokenizer is {pre!r}; known are {', '.join(sorted(_RULES))}. "
            "Export the original checkpoint folder instead, which has a tokenizer.json"
        )
    tokens, types = _list(metadata, "tokens", str), _list(metadata, "token_type", int)
    if len(tokens) != len(types):
        raise CheckpointError(f"{len(tokens)} tokens have {len(types)} types")
    # Unused tokens pad the vocabulary to the embedding's rows and have no text.
    vocabulary = {token: id for id, token in enumerate(tokens) if types[id] != _UNUSED}
    added = [id for id, kind in enumerate(types) if kind in (_CONTROL, _USER_DEFINED)]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [_added_token(id, tokens[id], special=types[id] == _CONTROL) for id in added],
            "normalizer": rules.normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(rules.pre_tokenizers)},
            "post_processor": None,
            "decoder": _byte_level(True),
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": rules.ignore_merges,
                "vocab": vocabulary,
                "merges": [_merge(merge, vocabulary) for merge in _list(metadata, "merges", str)],
            },
        },
        ensure_ascii=False,
    )


def _added_token(id: int, content: str, special: bool) -> dict[str, Any]:
    return {
        "id": id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def _merge(merge: str, vocabulary: Mapping[str, int]) -> list[str]:
    """Split `left right`; neither half holds a space, since the byte alphabet has none."""
    halves = merge.split(" ")
    if len(halves) != 2 or any(half not in vocabulary for half in (*halves, "".join(halves))):
        raise CheckpointError(f"the merge {merge!r} does not join two tokens of the vocabulary into a third")
    return halves


def _list(metadata: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    values = metadata.get(key)
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise CheckpointError(f"tokenizer.ggml.{key} is missing or not a list of {kind.__name__}")
    return values
