from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.router.errors import InvalidRequest
from archroute_server.router.trie import AnswerTrie, Branch, Edge

END = 9


def trie_of(*sequences: Sequence[int]) -> AnswerTrie:
    return AnswerTrie([f"answer_{index}" for index in range(len(sequences))], sequences)


# Few tokens, so that answers share prefixes. No answer begins with another: the end token stands only there.
answer_sequences = st.lists(
    st.lists(st.integers(0, 3), max_size=8).map(lambda tokens: (*tokens, END)),
    min_size=2,
    max_size=24,
    unique=True,
)
prefixed_sequences = st.tuples(st.lists(st.integers(0, 3), max_size=4), answer_sequences).map(
    lambda pair: [(*pair[0], *sequence) for sequence in pair[1]]
)


def test_the_drawing_of_the_docstring() -> None:
    route, colon, space, code, generation, review, summar, ization, other, close = range(10, 20)
    start = (route, colon, space)
    trie = AnswerTrie(
        ["code_generation", "code_review", "summarization", "other"],
        [
            (*start, code, generation, close, END),
            (*start, code, review, close, END),
            (*start, summar, ization, close, END),
            (*start, other, close, END),
        ],
    )
    assert trie.forced == start
    assert trie.branches == (
        Branch(-1, (), (Edge(code, branch=1), Edge(summar, answer=2), Edge(other, answer=3))),
        Branch(0, (code,), (Edge(generation, answer=0), Edge(review, answer=1))),
    )
    assert trie.candidates == (code, generation, review, summar, other)
    assert trie.choices == (2, 2, 1, 1)


def test_a_branch_carries_the_tokens_since_its_parents_choice() -> None:
    trie = trie_of((1, 2, 3, 4, END), (1, 2, 3, 5, END), (0, END))
    assert trie.forced == ()
    assert trie.branches == (
        Branch(-1, (), (Edge(0, answer=2), Edge(1, branch=1))),
        Branch(0, (1, 2, 3), (Edge(4, answer=0), Edge(5, answer=1))),
    )


def test_an_answer_that_goes_on_where_another_ends_parts_at_the_end_token() -> None:
    """As `code` and `code_review` do: the closing quote is a token like any other."""
    trie = trie_of((1, END), (1, 2, END))
    assert trie.branches == (Branch(-1, (), (Edge(2, answer=1), Edge(END, answer=0))),)


@given(sequences=prefixed_sequences)
def test_the_compressed_tree_expands_to_the_sequences(sequences: list[tuple[int, ...]]) -> None:
    trie = trie_of(*sequences)
    assert trie.sequences == tuple(sequences)
    paths = {0: trie.forced}
    reached = []
    for index, branch in enumerate(trie.branches):
        if index:
            assert branch.parent < index
            paths[index] = paths[branch.parent] + branch.tokens
        assert len(branch.edges) >= 2
        tokens = [edge.token for edge in branch.edges]
        assert tokens == sorted(set(tokens))
        for edge in branch.edges:
            assert (edge.branch is None) != (edge.answer is None)
            if edge.branch is not None:
                assert trie.branches[edge.branch].parent == index
                assert trie.branches[edge.branch].tokens[0] == edge.token
            else:
                assert edge.answer is not None
                reached.append(edge.answer)
                path = (*paths[index], edge.token)
                assert trie.sequences[edge.answer][: len(path)] == path
    assert sorted(reached) == list(range(len(sequences)))
    assert set(trie.candidates) == {edge.token for branch in trie.branches for edge in branch.edges}
    assert list(trie.candidates) == sorted(set(trie.candidates))


@given(sequences=prefixed_sequences)
def test_the_walk_reaches_every_answer_and_nothing_else(sequences: list[tuple[int, ...]]) -> None:
    trie = trie_of(*sequences)
    for answer, sequence in enumerate(sequences):
        node = trie.root
        for depth, token in enumerate(sequence):
            assert not trie.is_terminal(node)
            legal = {other[depth] for other in sequences if other[:depth] == sequence[:depth]}
            assert trie.allowed(node) == tuple(sorted(legal))
            node = trie.advance(node, token)
        assert trie.is_terminal(node)
        assert trie.allowed(node) == ()
        assert trie.answer(node) == answer


@given(sequences=prefixed_sequences)
def test_the_walk_has_a_choice_exactly_at_the_branches(sequences: list[tuple[int, ...]]) -> None:
    trie = trie_of(*sequences)
    choices = []
    paths: list[tuple[int, ...]] = [()]
    for path in paths:
        node = trie.root
        for token in path:
            node = trie.advance(node, token)
        allowed = trie.allowed(node)
        if len(allowed) > 1:
            choices.append((path, allowed))
        paths.extend((*path, token) for token in allowed)
    at_branch = {0: trie.forced}
    for index, branch in enumerate(trie.branches[1:], start=1):
        at_branch[index] = at_branch[branch.parent] + branch.tokens
    assert sorted(choices) == sorted(
        (at_branch[index], tuple(edge.token for edge in branch.edges))
        for index, branch in enumerate(trie.branches)
    )


def test_no_step_leads_off_the_tree() -> None:
    trie = trie_of((1, 2, END), (1, 3, END))
    with pytest.raises(ValueError, match="no answer goes on with token 2 after 0 tokens"):
        trie.advance(trie.root, 2)
    node = trie.root
    for token in (1, 3, END):
        node = trie.advance(node, token)
    with pytest.raises(ValueError, match="no answer goes on with token 1 after 3 tokens"):
        trie.advance(node, 1)
    with pytest.raises(ValueError, match="no answer ends after 0 tokens"):
        trie.answer(trie.root)


def test_equal_sequences_name_both_policies() -> None:
    with pytest.raises(InvalidRequest) as caught:
        AnswerTrie(["a", "b", "c", "other"], [(1, END), (2, END), (1, END), (3, END)])
    (violation,) = caught.value.violations
    assert violation.field == "policies[2].name"
    assert "'c' and 'a'" in violation.description


def test_a_sequence_that_begins_with_another_names_both_policies() -> None:
    with pytest.raises(InvalidRequest) as caught:
        AnswerTrie(["a", "b", "other"], [(1, 2, 3), (1, 2), (4,)])
    (violation,) = caught.value.violations
    assert violation.field == "policies[1].name"
    assert "'b' and 'a'" in violation.description


@pytest.mark.parametrize(("answers", "sequences"), [([], []), (["a"], [(1,)]), (["a", "b"], [(1,)])])
def test_a_tree_takes_two_answers_with_their_sequences(
    answers: list[str], sequences: list[tuple[int, ...]]
) -> None:
    with pytest.raises(ValueError, match="it takes two or more"):
        AnswerTrie(answers, sequences)
