"""Rows hold the same tokens and ask the same questions as each example would alone."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_export.errors import ExportError
from archroute_export.finetune.training.row import Block, Row, RowBuilder
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


def dialogue(turns: int, expected: str) -> Example:
    """The first turns of one and the same dialogue."""
    messages = [
        Message(role, word)
        for word in ("one", "two", "three", "four")
        for role in (Role.USER, Role.ASSISTANT)
    ]
    return Example(example("any", "code").policies, tuple(messages[: 2 * turns - 1]), expected)


examples_strategy = st.lists(
    st.builds(
        example,
        st.text(min_size=1, max_size=30).filter(str.strip),
        st.sampled_from([*NAMES[:3], OTHER]),
        st.sampled_from([NAMES, NAMES[:3]]),
    )
    | st.builds(dialogue, st.integers(1, 4), st.sampled_from([*NAMES, OTHER])),
    min_size=1,
    max_size=12,
)


@given(examples=examples_strategy, requests_per_row=st.integers(1, 4))
@settings(max_examples=60)
def test_every_example_is_there_once_with_the_tokens_and_choices_it_has_alone(
    encoder: PromptEncoder, examples: list[Example], requests_per_row: int
) -> None:
    rows = list(builder(encoder, requests_per_row).rows(examples))
    assert all(1 <= row.examples <= requests_per_row for row in rows)
    found = sorted(each for row in rows for block in row.blocks for each in _alone(row, block))
    assert found == sorted(_expected(encoder, each) for each in examples)


def _alone(row: Row, block: Block) -> Iterator[tuple[object, ...]]:
    """Yield what each example of a block would be without the others: its tokens and choices."""
    assert all(parent < index for index, parent in enumerate(block.parents))
    read = set()
    for example in range(block.examples):
        choices = [choice for choice in block.choices if choice.example == example]
        path = _path(block, choices[-1].index)
        read |= set(path)
        assert [block.depths[index] for index in path] == list(range(len(path)))
        yield (
            (*row.shared, *(block.tokens[index] for index in path)),
            tuple(
                (
                    path.index(choice.index) + len(row.shared),
                    choice.candidates,
                    choice.candidates[choice.right],
                )
                for choice in choices
            ),
        )
    assert read == set(range(len(block.tokens))), "no token is read that no choice needs"


def _path(block: Block, index: int) -> list[int]:
    path = []
    while index >= 0:
        path.append(index)
        index = block.parents[index]
    return path[::-1]


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


def test_a_dialogue_is_held_once(encoder: PromptEncoder) -> None:
    turns = [dialogue(number, answer) for number, answer in ((1, "code"), (2, "data"), (3, "code"))]
    (row,) = builder(encoder).rows(turns)
    assert row.examples == 3
    *before, last = (_whole(encoder, turn) for turn in turns)
    # Beside the last turn, only what each of the others puts behind its last message is read.
    behind = [len(turn) - _in_common(turn, last) for turn in before]
    assert 0 < sum(behind) < len(before[0])
    assert row.length == len(last) + sum(behind)


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _whole(encoder: PromptEncoder, example: Example) -> tuple[int, ...]:
    (row,) = builder(encoder).rows([example])
    return (*row.shared, *row.blocks[0].tokens)


def test_equal_prompts_are_read_once_and_asked_twice(encoder: PromptEncoder) -> None:
    same, other = example("the same question twice over", "code"), example("another", "data")
    (twice,) = builder(encoder).rows([same, same, other])
    (once,) = builder(encoder).rows([same, other])
    assert twice.length == once.length
    assert (twice.examples, once.examples) == (3, 2)
    assert len(twice.blocks[0].choices) == 2 * len(once.blocks[0].choices)


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
