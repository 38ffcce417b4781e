import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_evaluation.metrics.proportion import Proportion


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # With z² = 3.8415: (0.8 + 0.19207 ± 1.96 √(0.016 + 0.0096037)) / 1.38415
        (8, 10, 0.4902, 0.9433),
        # Of all: 1 / (1 + z²/n), and of none what is left.
        (10, 10, 0.7225, 1.0),
        (0, 10, 0.0, 0.2775),
        # As many tables have it, for example Newcombe 1998.
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_the_interval_of_wilson(hits: int, total: int, low: float, high: float) -> None:
    assert Proportion(hits, total).interval == pytest.approx((low, high), abs=5e-5)


def test_nothing_has_no_share() -> None:
    nothing = Proportion.of([])
    assert (nothing.total, nothing.share, nothing.interval) == (0, None, None)


def test_what_is_true_is_counted() -> None:
    assert Proportion.of([True, False, True]) == Proportion(2, 3)
    assert Proportion(2, 4).share == 0.5


@given(st.integers(1, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    proportion = Proportion(*counts)
    assert proportion.interval is not None
    assert proportion.share is not None
    low, high = proportion.interval
    assert 0 <= low <= proportion.share + 1e-12
    assert proportion.share - 1e-12 <= high <= 1
