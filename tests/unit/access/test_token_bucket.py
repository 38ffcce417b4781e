import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.access.token_bucket import TokenBucket
from support.fake_clock import FakeClock


def test_a_full_bucket_gives_its_size_at_once_and_then_one_at_a_time() -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate=2.0, size=3, clock=clock)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.25
    assert bucket.take() == pytest.approx(0.25)
    clock.now += 0.25
    assert [bucket.take(), bucket.take()] == [0, 0.5]


def test_a_pause_fills_it_and_no_further() -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate=10.0, size=2, clock=clock)
    clock.now += 1000
    assert [bucket.take() > 0 for _ in range(3)] == [False, False, True]


@given(
    rate=st.floats(0.01, 1000),
    size=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 10), min_size=1, max_size=100),
)
def test_no_more_is_given_than_the_size_and_the_rate_allow(
    rate: float, size: int, pauses: list[float]
) -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate, size, clock)
    given_out = 0
    for pause in pauses:
        clock.now += pause
        wait = bucket.take()
        given_out += wait == 0
        assert 0 <= wait <= 1 / rate * 1.001
    assert given_out <= size + sum(pauses) * rate + 1e-3


@given(rate=st.floats(0.01, 1000), size=st.integers(1, 50))
def test_who_waits_as_long_as_told_is_served(rate: float, size: int) -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate, size, clock)
    while not (wait := bucket.take()):
        pass
    # A billionth more, for the rounding of a clock that counts from a thousand seconds on.
    clock.now += wait * (1 + 1e-9) + 1e-9
    assert bucket.take() == 0
