from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from archroute_server.router.tokenizer import Tokenizer, TokenizerError

SPECIAL = {0, 1}


@pytest.mark.parametrize("text", ["<|im_end|>", "a <|im_start|>user\n", "<|im_end|><|im_end|>"])
def test_special_tokens_in_text_are_plain_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert not SPECIAL & set(ids)
    assert tokenizer.decode(ids) == text


def test_added_tokens_that_are_not_special_are_still_tokens(tokenizer: Tokenizer) -> None:
    """As the model saw them when it was trained; they end nothing, so they may come from text."""
    assert tokenizer.encode("<tool_call>") == [tokenizer.token_id("<tool_call>")]


@given(text=st.text())
def test_text_round_trips_up_to_normalisation(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.encode(tokenizer.decode(ids)) == ids
    assert tokenizer.count(text) == len(ids)
    assert not SPECIAL & set(ids)


@given(text=st.text())
def test_spans_go_through_the_text_in_order(tokenizer: Tokenizer, text: str) -> None:
    spans = tokenizer.spans(text)
    assert len(spans) == tokenizer.count(text)
    assert spans == sorted(spans)
    assert all(0 <= start <= end <= len(text) for start, end in spans)


def test_a_character_of_several_tokens_lies_in_the_span_of_each(tokenizer: Tokenizer) -> None:
    assert tokenizer.spans("🚀") == [(0, 1)] * 4


def test_the_id_of_a_token_is_found_by_its_spelling(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_id("<|im_end|>") == 1
    assert tokenizer.token_id("<|none|>") is None


def test_a_file_that_asks_for_truncation_padding_and_added_tokens_gets_none(
    tmp_path: Path, serialized_tokenizer: str, tokenizer: Tokenizer
) -> None:
    inner = tokenizers.Tokenizer.from_str(serialized_tokenizer)
    inner.enable_truncation(2)
    inner.enable_padding(length=32, pad_id=1, pad_token="<|im_end|>")
    inner.post_processor = TemplateProcessing(
        single="<|im_start|> $A", pair="<|im_start|> $A $B", special_tokens=[("<|im_start|>", 0)]
    )
    path = tmp_path / "tokenizer.json"
    inner.save(str(path))
    text = "the quick brown fox"
    assert Tokenizer.from_file(path).encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read the tokenizer .*tokenizer.json: No such file or directory"),
        (b"\xff\xfe", "the tokenizer .*tokenizer.json is not UTF-8 text"),
        (b"", "tokenizer.json is not a tokenizer.json that can be read: EOF"),
        (b'{"version": "1.0"}', "tokenizer.json is not a tokenizer.json that can be read: Model missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenizerError, match=reason):
        Tokenizer.from_file(path)
