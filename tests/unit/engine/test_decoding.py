"""The one-pass decision against the greedy loop, on random models and random tries."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.engine.decoded import Decoded
from archroute_server.engine.greedy import decode_greedily
from archroute_server.engine.layout import lay_out
from archroute_server.engine.one_pass import decode_one_pass
from archroute_server.router.decision import answer_log_probabilities, greedy_answer
from archroute_server.router.trie import AnswerTrie
from archroute_server.runtime.forward import Forward
from support.numpy_model import NumpyModel

VOCABULARY = 12
END = 0
UNBOUNDED = 10_000

# No sequence begins with another, because END stands only at the end.
sequences = st.lists(
    st.lists(st.integers(1, VOCABULARY - 1), max_size=6).map(lambda body: (*body, END)),
    min_size=2,
    max_size=40,
    unique=True,
)
prompts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12)


def trie_of(answers: Sequence[Sequence[int]]) -> AnswerTrie:
    return AnswerTrie([f"a{index}" for index in range(len(answers))], answers)


def brute_force(model: NumpyModel, prompt: Sequence[int], trie: AnswerTrie) -> list[float]:
    """Score each answer by itself, token by token, the choices among all that continue legally."""
    totals = []
    for sequence in trie.sequences:
        node, total = trie.root, 0.0
        for depth, token in enumerate(sequence):
            allowed = trie.allowed(node)
            if len(allowed) > 1:
                probabilities = _plain_softmax(model, [*prompt, *sequence[:depth]], allowed)
                total += math.log(probabilities[allowed.index(token)])
            node = trie.advance(node, token)
        totals.append(total)
    return totals


def _plain_softmax(model: NumpyModel, tokens: Sequence[int], allowed: Sequence[int]) -> list[float]:
    count = len(tokens)
    logits, _ = model.run(
        Forward(
            np.array(tokens),
            np.arange(count),
            np.tri(count, dtype=np.bool_),
            np.array([count - 1]),
            np.array(allowed),
        ),
        model.empty_cache(),
    )
    weights = np.exp(logits[0].astype(np.float64) - logits[0].max())
    return (weights / weights.sum()).tolist()


@settings(max_examples=60)
@given(answers=sequences, prompt=prompts, seed=st.integers(0, 2**16))
def test_one_pass_equals_scoring_each_answer_by_itself(
    answers: list[tuple[int, ...]], prompt: list[int], seed: int
) -> None:
    model, trie = NumpyModel(VOCABULARY, seed), trie_of(answers)
    decoded = decode_one_pass(model, prompt, lay_out(trie), model.empty_cache(), UNBOUNDED)
    assert decoded.forward_passes == 1
    totals = answer_log_probabilities(trie, decoded.branches)
    expected = brute_force(model, prompt, trie)
    for answer, total in totals.items():
        assert math.exp(total) == pytest.approx(math.exp(expected[answer]), abs=1e-4)
    assert math.fsum(map(math.exp, totals.values())) == pytest.approx(1, abs=1e-9)


@settings(max_examples=60)
@given(answers=sequences, prompt=prompts, seed=st.integers(0, 2**16))
def test_one_pass_equals_the_greedy_loop(
    answers: list[tuple[int, ...]], prompt: list[int], seed: int
) -> None:
    model, trie = NumpyModel(VOCABULARY, seed), trie_of(answers)
    one = decode_one_pass(model, prompt, lay_out(trie), model.empty_cache(), UNBOUNDED)
    model.forwards.clear()
    loop = decode_greedily(model, prompt, trie, model.empty_cache(), UNBOUNDED)
    assert greedy_answer(trie, one.branches) == greedy_answer(trie, loop.branches)
    visited = [index for index, row in enumerate(loop.branches) if row is not None]
    for index in visited:
        assert np.exp(loop.branches[index]) == pytest.approx(np.exp(one.branches[index]), abs=1e-4)
    # One pass for each choice, and none for tokens without one.
    assert loop.forward_passes == len(visited) == len(model.forwards)
    assert trie.choices[greedy_answer(trie, loop.branches)] == len(visited)
    assert loop.tokens == sum(len(forward.token_ids) for forward in model.forwards)


@settings(max_examples=40)
@given(
    answers=sequences,
    prompt=prompts,
    seed=st.integers(0, 2**16),
    size=st.integers(1, 20),
    data=st.data(),
)
def test_pieces_and_a_cached_prefix_change_nothing(
    answers: list[tuple[int, ...]], prompt: list[int], seed: int, size: int, data: st.DataObject
) -> None:
    model, trie = NumpyModel(VOCABULARY, seed), trie_of(answers)
    layout = lay_out(trie)
    whole = decode_one_pass(model, prompt, layout, model.empty_cache(), UNBOUNDED)
    known = data.draw(st.integers(0, len(prompt) - 1))
    past = whole.cache.slice(0, known)
    for decoded in (
        decode_one_pass(model, prompt, layout, past, size),
        decode_greedily(model, prompt, trie, past, size),
    ):
        assert greedy_answer(trie, decoded.branches) == greedy_answer(trie, whole.branches)
        _assert_close(decoded, whole)
    tokens = len(prompt) - known + len(layout.token_ids)
    model.forwards.clear()
    assert decode_one_pass(model, prompt, layout, past, size).forward_passes == -(-tokens // size)
    assert max(len(forward.token_ids) for forward in model.forwards) <= size


def _assert_close(found: Decoded, expected: Decoded) -> None:
    for row, wanted in zip(found.branches, expected.branches, strict=True):
        if row is not None:
            assert np.exp(row) == pytest.approx(np.exp(wanted), abs=1e-4)


def test_five_hundred_answers_take_one_pass_and_few_tokens() -> None:
    answers = [(1, 2, *(int(digit) + 1 for digit in f"{number:03}"), END) for number in range(500)]
    trie = trie_of(answers)
    layout = lay_out(trie)
    # Each branch but the root adds the one digit that leads to it: 5 hundreds, 50 tens.
    assert len(layout.token_ids) == 2 + 5 + 50
    model = NumpyModel(VOCABULARY)
    decoded = decode_one_pass(model, [3, 4], layout, model.empty_cache(), UNBOUNDED)
    assert len(model.forwards) == 1
    assert len(answer_log_probabilities(trie, decoded.branches)) == 500


def test_a_tree_token_sees_the_prompt_and_its_own_ancestors_only() -> None:
    #  1 2 ─┬─ 3 ─┬─ 5      the branch behind 3 and the one behind 4 6 must not see each other
    #       │     └─ 6
    #       └─ 4 · 6 ─┬─ 1
    #                 └─ 2
    layout = lay_out(trie_of([(1, 2, 3, 5), (1, 2, 3, 6), (1, 2, 4, 6, 1), (1, 2, 4, 6, 2)]))
    assert layout.token_ids.tolist() == [1, 2, 3, 4, 6]
    assert layout.depths.tolist() == [0, 1, 2, 2, 3]
    assert layout.reading_rows.tolist() == [1, 2, 4]
    assert layout.visible.astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_answers_that_share_no_first_token_are_read_at_the_end_of_the_prompt() -> None:
    layout = lay_out(trie_of([(1, 3), (1, 4), (2, 3)]))
    assert layout.reading_rows.tolist() == [-1, 0]
    model = NumpyModel(VOCABULARY)
    decoded = decode_one_pass(model, [5, 6], layout, model.empty_cache(), UNBOUNDED)
    expected = _plain_softmax(model, [5, 6], [1, 2])
    assert np.exp(decoded.branches[0]) == pytest.approx(expected, abs=1e-4)
