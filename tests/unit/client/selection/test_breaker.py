import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute.selection import CircuitBreaker, CircuitState

EVENTS = st.sampled_from(["succeeded", "failed", "abandoned", "wait", "ask"])


@given(st.integers(1, 4), st.lists(EVENTS, max_size=60))
def test_it_opens_after_failures_in_a_row_and_lets_one_probe_in_at_a_time(
    limit: int, events: list[str]
) -> None:
    breaker = CircuitBreaker(failures=limit, seconds=10)
    now, in_a_row, probing = 0.0, 0, False
    for event in events:
        if event == "wait":
            now += 10
            probing = False  # whoever probed took too long, and the next one may
        elif event == "ask":
            allowed = breaker.allows(now)
            if breaker.state is CircuitState.CLOSED:
                assert allowed
            elif allowed:
                assert breaker.state is CircuitState.HALF_OPEN
                assert not probing
                probing = True
        elif event == "succeeded":
            breaker.succeeded()
            in_a_row, probing = 0, False
        elif event == "failed":
            breaker.failed(now)
            in_a_row, probing = in_a_row + 1, False
        else:
            breaker.abandoned()
            probing = False
        assert (breaker.state is CircuitState.CLOSED) == (in_a_row < limit)


def opened(limit: int = 2) -> CircuitBreaker:
    breaker = CircuitBreaker(failures=limit, seconds=10)
    for _ in range(limit):
        assert breaker.allows(0)
        breaker.failed(0)
    assert breaker.state is CircuitState.OPEN
    return breaker


def test_while_open_nobody_asks_and_then_one_does() -> None:
    breaker = opened()
    assert [breaker.allows(now) for now in (0, 9.9, 10, 10, 19.9)] == [False, False, True, False, False]
    assert breaker.state is CircuitState.HALF_OPEN


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.allows(10)
    breaker.succeeded()
    assert breaker.allows(10)
    assert breaker.state is CircuitState.CLOSED


def test_a_probe_that_fails_opens_it_for_another_while() -> None:
    breaker = opened()
    assert breaker.allows(10)
    breaker.failed(11)
    assert [breaker.allows(now) for now in (20.9, 21)] == [False, True]


def test_a_probe_that_is_abandoned_lets_the_next_one_in() -> None:
    breaker = opened()
    assert breaker.allows(10)
    breaker.abandoned()
    assert [breaker.allows(10), breaker.allows(10)] == [True, False]


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"seconds": 0}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 failure"):
        CircuitBreaker(**wrong)
