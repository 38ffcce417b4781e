"""Questions packed in one row against each by itself, on random models and random tries."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.engine.decoded import Decoded
from archroute_server.engine.layout import lay_out
from archroute_server.engine.one_pass import decode_one_pass, decode_together
from archroute_server.engine.packed_row import Question, pack
from archroute_server.router.decision import greedy_answer
from archroute_server.router.trie import AnswerTrie
from support.numpy_model import NumpyModel

VOCABULARY = 12
END = 0
UNBOUNDED = 10_000

tokens = st.integers(0, VOCABULARY - 1)
# No sequence begins with another, because END stands only at the end.
answers = st.lists(
    st.lists(st.integers(1, VOCABULARY - 1), max_size=5).map(lambda body: (*body, END)),
    min_size=2,
    max_size=12,
    unique=True,
)
asked = st.lists(st.tuples(st.lists(tokens, min_size=1, max_size=8), answers), min_size=1, max_size=6)


def question(prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> Question:
    return Question(prompt, lay_out(AnswerTrie([f"a{index}" for index in range(len(answers))], answers)))


@settings(max_examples=80)
@given(
    beginning=st.lists(tokens, max_size=10),
    asked=asked,
    seed=st.integers(0, 2**16),
    multiple=st.sampled_from([1, 4, 8]),
    max_tokens=st.one_of(st.none(), st.integers(8, 40)),
)
def test_packed_as_alone(
    beginning: list[int],
    asked: list[tuple[list[int], list[tuple[int, ...]]]],
    seed: int,
    multiple: int,
    max_tokens: int | None,
) -> None:
    model = NumpyModel(VOCABULARY, seed)
    questions = [question([*beginning, *rest], answers) for rest, answers in asked]
    past = model.empty_cache()
    if beginning:
        reading = question([*beginning, END], [(1,), (2,)])
        whole = decode_one_pass(model, reading.prompt, reading.layout, past, UNBOUNDED).cache
        past = whole.slice(0, len(beginning))
    model.forwards.clear()
    packed = decode_together(model, questions, past, max_tokens, multiple)
    if max_tokens is None:
        assert len(model.forwards) == 1
    assert {decoded.forward_passes for decoded in packed} == {len(model.forwards)}
    assert packed[0].cache.tokens % multiple == 0
    assert max(len(forward.token_ids) for forward in model.forwards) <= (max_tokens or UNBOUNDED)
    for asked_for, decoded in zip(questions, packed, strict=True):
        alone = decode_one_pass(model, asked_for.prompt, asked_for.layout, model.empty_cache(), UNBOUNDED)
        assert_same(asked_for, decoded, alone, past.tokens)


def assert_same(asked_for: Question, packed: Decoded, alone: Decoded, cached: int) -> None:
    trie = asked_for.layout.trie
    assert greedy_answer(trie, packed.branches) == greedy_answer(trie, alone.branches)
    for row, expected in zip(packed.branches, alone.branches, strict=True):
        assert np.exp(row) == pytest.approx(np.exp(expected), abs=1e-4)
    length = len(asked_for.prompt)
    found = packed.cache.slice(cached + packed.offset, length + packed.offset)
    for array, wanted in zip(found.arrays, alone.cache.slice(cached, length).arrays, strict=True):
        np.testing.assert_allclose(array, wanted, atol=1e-4)


def test_a_block_sees_the_cached_tokens_and_itself_and_padding_is_seen_by_none() -> None:
    # Both prompts begin with the cached 1 2; each is followed by one branch, behind the 4 of its trie.
    answers = [(4, 5, 1), (4, 5, 2), (4, 6, 3)]
    row = pack([question([1, 2, 3], answers), question([1, 2, 7, 8], answers)], cached=2, multiple=4)
    assert row.token_ids.tolist() == [3, 4, 5, 7, 8, 4, 5, 0, 0, 0]
    assert row.positions.tolist() == [2, 3, 4, 2, 3, 4, 5, 0, 0, 0]
    assert row.reading_rows.tolist() == [1, 2, 5, 6]
    assert [block.start for block in row.blocks] == [2, 5]
    assert row.visible.astype(int).tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]


def test_candidates_are_those_of_all_tries_and_each_finds_its_own() -> None:
    row = pack([question([1], [(2, 0), (7, 0)]), question([1], [(5, 0), (2, 0)])], cached=0)
    assert row.candidates.tolist() == [2, 5, 7]
    (first,), (second,) = (block.columns for block in row.blocks)
    assert (first.tolist(), second.tolist()) == ([0, 2], [0, 1])


def test_every_pass_of_a_long_row_ends_at_a_multiple() -> None:
    model = NumpyModel(VOCABULARY)
    long = question([3] * 50, [(1, 0), (2, 0)])
    past = decode_one_pass(model, long.prompt, long.layout, model.empty_cache(), UNBOUNDED).cache.slice(0, 3)
    model.forwards.clear()
    decode_together(model, [long], past, max_tokens=16, multiple=8)
    assert [forward.visible.shape[1] for forward in model.forwards] == [16, 32, 48, 56]
