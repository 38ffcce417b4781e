import pytest

from archroute_server.engine.pace import Pace


def test_before_the_first_request_everything_takes_no_time() -> None:
    pace = Pace()
    assert not pace.measured
    assert (pace.seconds(100), pace.seconds_per_request, pace.tokens_per_request) == (0, 0, 0)


def test_time_goes_by_tokens() -> None:
    pace = Pace()
    pace.record(100, 0.5)
    pace.record(300, 1.5)
    assert pace.measured
    assert pace.seconds(1000) == pytest.approx(5)
    assert 200 < pace.tokens_per_request < 300  # nearer to the later
    assert pace.seconds_per_request == pytest.approx(pace.seconds(pace.tokens_per_request))


def test_one_slow_request_is_soon_forgotten() -> None:
    pace = Pace()
    pace.record(100, 60)
    for _ in range(60):
        pace.record(100, 0.1)
    assert pace.seconds_per_request == pytest.approx(0.1, rel=0.2)
    pace.record(100, 60)
    assert pace.seconds_per_request > 1
