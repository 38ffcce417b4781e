import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_evaluation.metrics.class_scores import class_scores, macro_f1, scores_of
from archroute_evaluation.metrics.proportion import Proportion
from support.outcomes import outcome

# expected:  a a a  b b  other
# answered:  a a b  b other  other
OUTCOMES = [
    outcome("a", "a"),
    outcome("a", "a"),
    outcome("a", "b"),
    outcome("b", "b"),
    outcome("b", "other"),
    outcome("other", "other"),
]


def test_precision_and_recall_by_hand() -> None:
    a, b, other = class_scores(OUTCOMES)
    assert (a.name, a.precision, a.recall) == ("a", Proportion(2, 2), Proportion(2, 3))
    assert (b.name, b.precision, b.recall) == ("b", Proportion(1, 2), Proportion(1, 2))
    assert (other.name, other.precision, other.recall) == ("other", Proportion(1, 2), Proportion(1, 1))
    assert scores_of("other", OUTCOMES) == other


def test_f1_by_hand() -> None:
    # a: 2·1·⅔ / (1 + ⅔) = 0.8; b: 0.5; other: 2·½·1 / 1.5 = ⅔
    assert [score.f1 for score in class_scores(OUTCOMES)] == pytest.approx([0.8, 0.5, 2 / 3])
    assert macro_f1(OUTCOMES) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_an_answer_that_was_never_expected_counts_with_0() -> None:
    assert macro_f1([outcome("a", "b")]) == 0.0


def test_what_never_occurred_has_no_share() -> None:
    scores = scores_of("other", [outcome("a", "a")])
    assert (scores.precision.share, scores.recall.share) == (None, None)
    assert macro_f1([]) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_f1_lies_within_0_and_1_and_is_1_only_if_all_is_right(pairs: list[tuple[str, str]]) -> None:
    value = macro_f1([outcome(expected, answer) for expected, answer in pairs])
    assert value is not None
    assert 0 <= value <= 1
    assert (value == 1) == all(expected == answer for expected, answer in pairs)
