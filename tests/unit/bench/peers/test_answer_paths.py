import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.answer_paths import AnswerPaths, as_gbnf, as_regex, common_prefix

END = 0
NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True)


def tokenize(text: str) -> list[int]:
    return [ord(character) + 1 for character in text]


@given(NAMES)
def test_following_what_is_allowed_writes_the_answers_and_nothing_else(answers: list[str]) -> None:
    paths = AnswerPaths(answers, tokenize, END)
    waiting: list[tuple[int, ...]] = [()]
    written = set()
    while waiting:
        beginning = waiting.pop()
        allowed = paths.allowed(beginning)
        if not allowed:
            written.add(beginning)
        waiting += [(*beginning, token) for token in allowed]
    assert written == {(*tokenize(answer), END) for answer in answers}
    assert paths.longest == max(len(path) for path in written)


def test_what_no_answer_begins_with_is_refused() -> None:
    with pytest.raises(KeyError):
        AnswerPaths(["ab"], tokenize, END).allowed(tokenize("b"))


@given(NAMES, st.text(max_size=8))
def test_the_regular_expression_matches_the_answers_alone(answers: list[str], other: str) -> None:
    pattern = re.compile(as_regex(answers), re.DOTALL)
    assert all(pattern.fullmatch(answer) for answer in answers)
    assert bool(pattern.fullmatch(other)) == (other in answers)


def test_the_grammar_quotes_what_has_a_meaning_in_it() -> None:
    assert as_gbnf(['{"route": "a"}', "b\\"]) == r'root ::= "{\"route\": \"a\"}" | "b\\"'


@pytest.mark.parametrize(
    ("one", "other", "length"), [([], [1], 0), ([1, 2], [1, 3], 1), ([1, 2], [1, 2, 3], 2), ([2], [1], 0)]
)
def test_common_prefix(one: list[int], other: list[int], length: int) -> None:
    assert common_prefix(one, other) == length
