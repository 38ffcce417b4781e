import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.figures import Latency, percentile, same_choice

SECONDS = st.lists(st.floats(0, 1000), min_size=1, max_size=50)


@given(SECONDS, st.floats(0, 1))
def test_percentiles_are_those_of_numpy(seconds: list[float], share: float) -> None:
    assert percentile(seconds, share) == pytest.approx(float(np.percentile(seconds, 100 * share)))


def test_latency_is_in_milliseconds() -> None:
    latency = Latency.of([0.003, 0.001, 0.002])
    assert latency == Latency(pytest.approx(2), pytest.approx(2.9), pytest.approx(2.98), 3)


def test_nothing_measured_has_no_latency() -> None:
    with pytest.raises(ValueError, match="no decisions"):
        Latency.of([])


def test_the_choice_is_compared_where_both_decided() -> None:
    assert same_choice(["a", "b", "c"], ["a", "c"]) == 0.5
    assert same_choice([], ["a"]) is None
