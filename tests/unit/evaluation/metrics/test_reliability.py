import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_evaluation.metrics.reliability import (
    BINS,
    BrierScore,
    brier_score,
    calibration_error_by_chance,
    expected_calibration_error,
    reliability_bins,
)
from support.outcomes import outcome


def right(probability: float):
    return outcome("a", "a", probability)


def wrong(probability: float):
    return outcome("a", "b", probability)


def test_the_calibration_error_by_hand() -> None:
    # Two bins. (0, 0.5]: 0.4 wrong, 0.5 right: accuracy ½, confidence 0.45. (0.5, 1]: 0.9 right, 0.9 right,
    # 0.6 wrong: accuracy ⅔, confidence 0.8.
    outcomes = [wrong(0.4), right(0.5), right(0.9), right(0.9), wrong(0.6)]
    expected = 2 / 5 * 0.05 + 3 / 5 * (0.8 - 2 / 3)
    assert expected_calibration_error(outcomes, bins=2) == pytest.approx(expected)


def test_the_bins_hold_what_lies_above_their_lower_end() -> None:
    bins = reliability_bins([right(0.0), right(0.5), wrong(0.75), wrong(1.0)], bins=4)
    assert [each.count for each in bins] == [1, 1, 1, 1]
    assert [(each.low, each.high) for each in bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert [each.accuracy for each in bins] == [1.0, 1.0, 0.0, 0.0]
    assert [each.confidence for each in bins] == [0.0, 0.5, 0.75, 1.0]


def test_a_bin_without_answers_says_nothing() -> None:
    first, second = reliability_bins([right(0.9)], bins=2)
    assert (first.count, first.accuracy, first.confidence) == (0, None, None)
    assert (second.count, second.accuracy, second.confidence) == (1, 1.0, 0.9)


def test_who_says_80_percent_and_is_right_in_80_is_calibrated() -> None:
    assert expected_calibration_error([right(0.8)] * 8 + [wrong(0.8)] * 2) == pytest.approx(0.0)


def test_nothing_has_no_error() -> None:
    assert expected_calibration_error([]) is None
    assert len(reliability_bins([])) == BINS


@given(
    st.lists(st.builds(lambda sure, hit: right(sure) if hit else wrong(sure), st.floats(0, 1), st.booleans()))
)
def test_the_calibration_error_lies_within_0_and_1(outcomes: list) -> None:
    error = expected_calibration_error(outcomes)
    assert sum(each.count for each in reliability_bins(outcomes)) == len(outcomes)
    assert (error is None) == (not outcomes)
    assert error is None or 0 <= error <= 1


def test_the_error_by_chance_by_hand() -> None:
    # One bin of two answers at ½ each: 0, 1 or 2 are right, with ¼, ½ and ¼, so the error is ½, 0 or ½.
    assert calibration_error_by_chance([right(0.5), wrong(0.5)], bins=1) == pytest.approx(0.25, abs=0.05)
    assert calibration_error_by_chance([right(1.0), right(1.0), wrong(0.0)]) == 0.0
    assert calibration_error_by_chance([]) is None


def test_the_error_by_chance_shrinks_with_the_square_root_of_the_answers() -> None:
    few, many = ([right(0.7)] * count for count in (100, 1600))
    by_chance = calibration_error_by_chance(few), calibration_error_by_chance(many)
    assert by_chance[0] == pytest.approx(math.sqrt(2 / math.pi * 0.7 * 0.3 / 100), rel=0.1)
    assert by_chance[1] == pytest.approx(by_chance[0] / 4, rel=0.15)


@given(st.lists(st.builds(right, st.floats(0, 1)), min_size=1, max_size=30))
def test_the_error_by_chance_knows_only_the_probabilities(outcomes: list) -> None:
    missed = [wrong(each.probability) for each in outcomes]
    error = calibration_error_by_chance(outcomes)
    assert calibration_error_by_chance(missed) == error
    assert 0 <= error <= 1


def test_the_brier_score_by_hand() -> None:
    # (0.7 - 1)² + 0.2² + 0.1² = 0.14, and 0.5² + (0.3 - 1)² + 0.2² = 0.78
    outcomes = [
        outcome("a", "a", 0.7, probabilities={"a": 0.7, "b": 0.2, "other": 0.1}, policies=2),
        outcome("b", "a", 0.5, probabilities={"a": 0.5, "b": 0.3, "other": 0.2}, policies=2),
    ]
    score = brier_score(outcomes)
    assert score.value == pytest.approx((0.14 + 0.78) / 2)
    assert score.count == 2


def test_the_brier_score_needs_every_probability() -> None:
    whole = outcome("a", "a", 1.0, probabilities={"a": 1.0, "other": 0.0}, policies=1)
    part = outcome("a", "b", 0.9, probabilities={"b": 0.9}, policies=2)
    assert brier_score([whole, part]) == BrierScore(0.0, 1)
    assert brier_score([part]) == BrierScore(None, 0)


def test_the_worst_brier_score_is_2() -> None:
    sure = outcome("b", "a", 1.0, probabilities={"a": 1.0, "b": 0.0, "other": 0.0}, policies=2)
    assert brier_score([sure]).value == 2.0
