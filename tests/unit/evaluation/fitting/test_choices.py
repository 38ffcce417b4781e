import math

import pytest

from archroute_evaluation.fitting.choices import Choice, ChoiceTable, right_choices
from archroute_server.router.trie import AnswerTrie

END = 9
# Root: code (1) -> branch 1, summarization (2), other (3). Branch 1: generation (4), review (5).
TRIE = AnswerTrie(
    ["code_generation", "code_review", "summarization", "other"],
    [(0, 1, 4, END), (0, 1, 5, END), (0, 2, END), (0, 3, END)],
)
ROOT, CODE = [-0.5, -1.5, -2.5], [-0.1, -2.4]


@pytest.mark.parametrize(
    ("expected", "choices"),
    [
        ("code_generation", [Choice(ROOT, 0), Choice(CODE, 0)]),
        ("code_review", [Choice(ROOT, 0), Choice(CODE, 1)]),
        ("summarization", [Choice(ROOT, 1)]),
        ("other", [Choice(ROOT, 2)]),
    ],
)
def test_the_way_to_an_answer(expected: str, choices: list[Choice]) -> None:
    assert right_choices(TRIE, [ROOT, CODE], expected) == choices


def test_a_branch_that_was_not_read_takes_no_part() -> None:
    assert right_choices(TRIE, [ROOT, None], "code_review") == [Choice(ROOT, 0)]


def test_an_answer_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        right_choices(TRIE, [ROOT, CODE], "travel")


def test_a_deep_way_is_found_whole() -> None:
    deep = AnswerTrie(["a", "b", "c", "d"], [(1, 1, 1, END), (1, 1, 2, END), (1, 2, END), (2, END)])
    rows = [[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]]
    assert [choice.right for choice in right_choices(deep, rows, "b")] == [0, 0, 1]
    assert [choice.log_probabilities for choice in right_choices(deep, rows, "b")] == rows


def log(*shares: float) -> list[float]:
    return [math.log(share) for share in shares]


def test_the_loss_by_hand() -> None:
    # ½ of the first example, and ¾ · ⅕ of the second.
    table = ChoiceTable(
        [[Choice(log(0.5, 0.5), 0)], [Choice(log(0.25, 0.75), 1), Choice(log(0.6, 0.2, 0.2), 2)]]
    )
    assert table.loss(1.0) == pytest.approx(-(math.log(0.5) + math.log(0.75 * 0.2)) / 2)
    # At T = 2 the shares become their square roots, normalised.
    root = math.sqrt
    second = root(0.75) / (root(0.25) + root(0.75)) * root(0.2) / (root(0.6) + 2 * root(0.2))
    assert table.loss(2.0) == pytest.approx(-(math.log(0.5) + math.log(second)) / 2)


def test_the_loss_of_a_certain_model_is_finite_at_any_temperature() -> None:
    table = ChoiceTable([[Choice([0.0, -700.0], 1)]])
    assert table.loss(1.0) == pytest.approx(700)
    assert table.loss(0.05) == pytest.approx(14_000)
