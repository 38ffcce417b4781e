"""The usual gap between requests."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.engine.arrivals import REMEMBERED, Arrivals


def arrivals_at(*times: float) -> Arrivals:
    arrivals = Arrivals()
    for time in times:
        arrivals.record(time)
    return arrivals


def test_one_request_tells_no_gap() -> None:
    assert math.isinf(arrivals_at().usual_gap)
    assert math.isinf(arrivals_at(5.0).usual_gap)


def test_one_long_pause_does_not_count() -> None:
    assert arrivals_at(1.0, 1.5, 2.0, 900.0, 900.5).usual_gap == 0.5


def test_a_change_of_pace_is_followed() -> None:
    slow = [float(second) for second in range(100)]
    quick = [slow[-1] + step / 8 for step in range(1, REMEMBERED + 1)]
    assert arrivals_at(*slow).usual_gap == 1.0
    assert arrivals_at(*slow, *quick).usual_gap == pytest.approx(1 / 8)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=REMEMBERED))
def test_half_of_the_gaps_are_no_longer(gaps: list[int]) -> None:
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    usual = arrivals_at(*times).usual_gap
    assert 2 * sum(gap <= usual for gap in gaps) >= len(gaps)
    assert 2 * sum(gap >= usual for gap in gaps) >= len(gaps)
