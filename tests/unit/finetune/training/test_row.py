"""Rows hold the same tokens and ask the same questions as each example would alone."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_export.errors import ExportError
from archroute_export.finetune.training.row import Row, RowBuilder
from archroute_server.router.answer import answer_trie
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.example import Example
from archroute_server.router.frame import ChatFrame, PromptHere, SpecialToken, Text
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, Policy, PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from support.checkpoints import tiny_tokenizer

END_OF_TURN = 2
CONVERSATION = 100
NAMES = ("code", "code_review", "code_generation", "summarization", "data", "p1", "p12")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(tiny_tokenizer().to_str()))


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer) -> PromptEncoder:
    frame = ChatFrame(
        (
            SpecialToken(1, "<|im_start|>"),
            Text("user\n"),
            PromptHere(),
            SpecialToken(2, "<|im_end|>"),
            Text("\n"),
            SpecialToken(1, "<|im_start|>"),
            Text("assistant\n"),
        )
    )
    return PromptEncoder(PromptVariant.load("archroute/compact"), frame, tokenizer, budget=600)


def builder(encoder: PromptEncoder, requests_per_row: int = 8, row_tokens: int = 100_000) -> RowBuilder:
    return RowBuilder(
        encoder,
        END_OF_TURN,
        requests_per_row=requests_per_row,
        row_tokens=row_tokens,
        conversation_tokens=CONVERSATION,
    )


def example(text: str, expected: str, names: tuple[str, ...] = NAMES) -> Example:
    policies = tuple(Policy(name, f"About {name}") for name in names)
    return Example(policies, (Message(Role.USER, text),), expected)


examples_strategy = st.lists(
    st.builds(
        example,
        st.text(min_size=1, max_size=30).filter(str.strip),
        st.sampled_from([*NAMES[:3], OTHER]),
        st.sampled_from([NAMES, NAMES[:3]]),
    ),
    min_size=1,
    max_size=12,
)


@given(examples=examples_strategy, requests_per_row=st.integers(1, 4))
@settings(max_examples=60)
def test_every_example_is_there_once_with_the_tokens_and_choices_it_has_alone(
    encoder: PromptEncoder, examples: list[Example], requests_per_row: int
) -> None:
    rows = list(builder(encoder, requests_per_row).rows(examples))
    assert all(1 <= len(row.blocks) <= requests_per_row for row in rows)
    found = sorted(_alone(row, number) for row in rows for number in range(len(row.blocks)))
    assert found == sorted(_expected(encoder, each) for each in examples)


def _alone(row: Row, number: int) -> tuple[object, ...]:
    block = row.blocks[number]
    assert all(0 <= choice.index < len(block.tokens) for choice in block.choices)
    assert block.choices[-1].index == len(block.tokens) - 1, "no token is read after the last choice"
    return (
        (*row.shared, *block.tokens),
        tuple(
            (choice.index + len(row.shared), choice.candidates, choice.candidates[choice.right])
            for choice in block.choices
        ),
    )


def _expected(encoder: PromptEncoder, each: Example) -> tuple[object, ...]:
    """What the step-by-step walk over the whole answer meets."""
    policies = PolicySet("any", each.policies)
    prompt = encoder.encode(policies, each.messages).token_ids
    trie = answer_trie(policies, encoder.variant, encoder.tokenizer, END_OF_TURN)
    answer = trie.sequences[trie.answers.index(each.expected)]
    choices = []
    for depth in range(len(answer)):
        following = {other[depth] for other in trie.sequences if other[:depth] == answer[:depth]}
        if len(following) > 1:
            choices.append((len(prompt) + depth - 1, tuple(sorted(following)), answer[depth]))
    return (*prompt, *answer)[: choices[-1][0] + 1], tuple(choices)


def test_policies_are_held_once(encoder: PromptEncoder) -> None:
    texts = ("fix it", "what does it do?", "translate it")
    (row,) = builder(encoder).rows([example(text, "code") for text in texts])
    alone = [next(builder(encoder).rows([example(text, "code")])).length for text in texts]
    assert len(row.shared) > 0.7 * min(alone)
    assert row.length == sum(alone) - 2 * len(row.shared)


def test_a_row_stays_within_its_tokens(encoder: PromptEncoder) -> None:
    examples = [example(f"number {number}", "code") for number in range(12)]
    longest = 200
    rows = list(builder(encoder, requests_per_row=100, row_tokens=longest).rows(examples))
    assert 1 < len(rows) < 12
    assert max(row.length for row in rows) <= longest


def test_equal_prompts_keep_a_block_each(encoder: PromptEncoder) -> None:
    (row,) = builder(encoder).rows([example("same", "code"), example("same", "code")])
    assert len(row.blocks) == 2
    assert all(block.tokens and block.choices for block in row.blocks)


def test_policies_that_leave_no_room_are_named(encoder: PromptEncoder) -> None:
    crowded = Example(
        tuple(Policy(f"policy_{number}", "word " * 40) for number in range(30)),
        (Message(Role.USER, "hello"),),
        OTHER,
    )
    with pytest.raises(ExportError, match=r"policies begin with policy_0, policy_1, policy_2: .*tokens"):
        list(builder(encoder).rows([crowded]))


def test_a_long_conversation_is_cut_to_what_it_may_have(encoder: PromptEncoder) -> None:
    (short, long) = (
        next(builder(encoder).rows([example(text, "code")])).length for text in ("a", "lorem ipsum " * 80)
    )
    assert short + CONVERSATION * 0.8 < long <= short + CONVERSATION
