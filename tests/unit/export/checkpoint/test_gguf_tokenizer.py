import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_tokenizer import tokenizer_json
from support.checkpoints import tiny_tokenizer
from synthetic.tokenizer import QWEN2_PATTERN

# From Llama 3's tokenizer.json.
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

TEXTS = (
    "It's 1234567 o'clock, ISN'T it?  \n\n  Yes.\r\n",
    'x=[1,2];\n\tprint(f"{x!r}") # ½ ٣٤٥ Ⅷ',
    "naïve Cafe\u0301 日本語テキスト 🙂🏽 \u200b\u00a0end   ",
)


def metadata(pre: str = "qwen2", **changes: object) -> dict[str, object]:
    """What a GGUF file says of the tiny tokenizer."""
    model = json.loads(tiny_tokenizer().to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": [3, 3, 3] + [1] * (len(tokens) - 3),
        "merges": [" ".join(merge) for merge in model["merges"]],
        **changes,
    }


def rebuilt(pre: str = "qwen2", **changes: object) -> Tokenizer:
    return Tokenizer.from_str(tokenizer_json(metadata(pre, **changes)))


def expected(pieces: pre_tokenizers.PreTokenizer, ignore_merges: bool = False) -> Tokenizer:
    """The same vocabulary behind a pre-tokenizer built by hand."""
    model = json.loads(tiny_tokenizer().to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(model["vocab"], merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pieces
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


QWEN2 = rebuilt()


@given(st.text())
def test_qwen2_is_the_tokenizer_it_was_made_from(text: str) -> None:
    original = tiny_tokenizer()
    assert QWEN2.encode(text).ids == original.encode(text).ids
    assert QWEN2.get_vocab() == original.get_vocab()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)),
        (
            "smollm",
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
                ]
            ),
        ),
        (
            "llama-bpe",
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            ),
        ),
    ],
)
def test_every_name_cuts_a_text_as_its_model_does(
    pre: str, pieces: pre_tokenizers.PreTokenizer, text: str
) -> None:
    tokenizer = rebuilt(pre)
    assert tokenizer.encode(text).tokens == expected(pieces, pre == "llama-bpe").encode(text).tokens
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_names_differ_in_how_they_cut_digits() -> None:
    tokens = ["1", "12", "123", "1234", *(str(digit) for digit in range(2, 5))]
    vocabulary = {"tokens": tokens, "token_type": [1] * 7, "merges": ["1 2", "12 3", "123 4"]}
    cuts = {
        pre: rebuilt(pre, **vocabulary).encode("1234").tokens
        for pre in ("gpt-2", "llama-bpe", "qwen2", "smollm")
    }
    assert cuts == {
        "gpt-2": ["1234"],
        "llama-bpe": ["123", "4"],
        "qwen2": ["1", "2", "3", "4"],
        "smollm": ["1", "2", "3", "4"],
    }


def test_only_qwen2_composes_characters() -> None:
    decomposed, composed = "e\u0301", "\u00e9"
    assert rebuilt("qwen2").encode(decomposed).ids == rebuilt("qwen2").encode(composed).ids
    assert rebuilt("smollm").encode(decomposed).ids != rebuilt("smollm").encode(composed).ids


def test_llama3_takes_a_known_word_whole_without_merges() -> None:
    vocabulary = {"tokens": ["a", "b", "ab"], "token_type": [1, 1, 1], "merges": []}
    assert rebuilt("llama-bpe", **vocabulary).encode("ab").tokens == ["ab"]
    assert rebuilt("qwen2", **vocabulary).encode("ab").tokens == ["a", "b"]


def test_control_tokens_are_special_and_user_defined_ones_are_not() -> None:
    plain = metadata()
    tokens = [*plain["tokens"], "<tool_call>", "[PAD401]"]
    types = [*plain["token_type"], 4, 5]
    tokenizer = rebuilt(tokens=tokens, token_type=types)
    added = {token.content: (id, token.special) for id, token in tokenizer.get_added_tokens_decoder().items()}
    assert added == {
        "<|endoftext|>": (0, True),
        "<|im_start|>": (1, True),
        "<|im_end|>": (2, True),
        "<tool_call>": (400, False),
    }
    assert tokenizer.token_to_id("[PAD401]") is None
    assert tokenizer.encode("<|im_end|><tool_call>").ids == [2, 400]
    tokenizer.encode_special_tokens = True
    ids = tokenizer.encode("<|im_end|><tool_call>").ids
    assert 2 not in ids
    assert ids[-1] == 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "llama"}, r"of type 'llama'; only byte-level BPE \('gpt2'\)"),
        ({"model": None}, "of type None"),
        ({"pre": "tekken"}, "'tekken'; known are gpt-2, llama-bpe, qwen2, smollm, starcoder"),
        ({"pre": None}, "pre-tokenizer is None"),
        ({"tokens": None}, r"tokenizer\.ggml\.tokens is missing"),
        ({"token_type": [1, 1]}, "400 tokens have 2 types"),
        ({"merges": ["a b c"]}, "'a b c' does not join two tokens"),
        ({"merges": ["a zzzz"]}, "'a zzzz' does not join"),
        ({"merges": [1]}, r"merges is missing or not a list of str"),
    ],
)
def test_what_cannot_be_rebuilt_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        tokenizer_json(metadata(**changes))
