"""Who is let in, with a clock that only the test moves."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.engine.admission import Admission, Permit
from archroute_server.engine.answer import FallbackReason
from archroute_server.engine.errors import DeadlineUnreachable, QueueFull
from archroute_server.engine.time_limit import UNLIMITED, DecideByMissed, TimeLimit
from support.fake_clock import FakeClock


def entered(admission: Admission, tokens: int, count: int = 1) -> list[Permit]:
    """Let requests in and charge them."""
    permits = [admission.enter(UNLIMITED) for _ in range(count)]
    for permit in permits:
        permit.charge(tokens)
    return permits


def leave(permit: Permit) -> None:
    permit.__exit__(None, None, None)


def measured(clock: FakeClock, requests: int = 0, tokens: int = 0) -> Admission:
    """Return an admission whose requests take a second each, of a hundred tokens."""
    admission = Admission(requests, tokens, clock)
    for _ in range(20):
        admission.record(100, 1.0)
    return admission


def test_so_many_requests_are_let_in_and_the_next_when_one_has_left() -> None:
    admission = Admission(2, 0, FakeClock())
    first, _ = entered(admission, 10, 2)
    with pytest.raises(
        QueueFull, match="--queue-requests allows 2 requests to be under way; try again in 1 s"
    ):
        admission.enter(UNLIMITED)
    leave(first)
    admission.enter(UNLIMITED)
    statistics = admission.statistics
    assert (statistics.requests, statistics.tokens) == (2, 10)
    assert (statistics.admitted, statistics.refused_by_requests) == (3, 1)


def test_so_many_tokens_are_let_in() -> None:
    admission = Admission(0, 100, FakeClock())
    entered(admission, 60)
    entered(admission, 40)
    with (
        pytest.raises(QueueFull, match="--queue-tokens allows 100 tokens"),
        admission.enter(UNLIMITED) as last,
    ):
        last.charge(1)
    statistics = admission.statistics
    assert (statistics.requests, statistics.tokens, statistics.refused_by_tokens) == (2, 100, 1)


def test_a_prompt_larger_than_the_bound_is_let_in_when_it_is_alone() -> None:
    admission = Admission(0, 100, FakeClock())
    (large,) = entered(admission, 1000)
    with pytest.raises(QueueFull):
        admission.enter(UNLIMITED).charge(1)
    leave(large)
    entered(admission, 1000)


def test_0_sets_no_bound() -> None:
    admission = Admission(0, 0, FakeClock())
    entered(admission, 10_000, 10_000)
    assert admission.statistics.requests == 10_000


def test_those_who_would_be_late_are_refused_and_told_when_they_would_not_be() -> None:
    clock = FakeClock()
    admission = measured(clock)
    entered(admission, 100, 4)
    # Four seconds for those ahead and one for itself.
    admission.enter(TimeLimit(deadline=clock.now + 5.1))
    with pytest.raises(
        DeadlineUnreachable, match=r"about 6 s, and 2\.5 s of the deadline are left"
    ) as caught:
        admission.enter(TimeLimit(deadline=clock.now + 2.5))
    assert caught.value.retry_after == pytest.approx(3.5)
    assert admission.statistics.deadlines_unreachable == 1
    assert admission.statistics.requests == 5


def test_what_is_not_tokenized_yet_counts_as_much_as_others_do() -> None:
    clock = FakeClock()
    admission = measured(clock)
    for _ in range(4):
        admission.enter(UNLIMITED)
    with pytest.raises(DeadlineUnreachable):
        admission.enter(TimeLimit(deadline=clock.now + 4.9))
    admission.enter(TimeLimit(deadline=clock.now + 5.1))


def test_the_one_that_runs_has_run_for_a_while_but_no_longer_than_it_takes() -> None:
    clock = FakeClock()
    admission = measured(clock)
    entered(admission, 100, 2)
    clock.now += 0.5
    admission.enter(TimeLimit(deadline=clock.now + 2.6))
    clock.now += 1000  # the model hangs
    with pytest.raises(DeadlineUnreachable):
        admission.enter(TimeLimit(deadline=clock.now + 2.6))


def test_a_budget_that_would_run_out_is_a_fallback_whatever_the_deadline() -> None:
    clock = FakeClock()
    admission = measured(clock)
    entered(admission, 100, 4)
    for deadline in (3.0, 60.0):
        with pytest.raises(DecideByMissed) as caught:
            admission.enter(TimeLimit(deadline=clock.now + deadline, decide_by=clock.now + 2))
        assert caught.value.reason is FallbackReason.DECIDE_BY_UNREACHABLE
    assert admission.statistics.decide_bys_unreachable == 2
    assert admission.statistics.deadlines_unreachable == 0


def test_a_full_queue_is_full_for_those_with_a_budget_too() -> None:
    clock = FakeClock()
    admission = measured(clock, requests=1)
    entered(admission, 100)
    with pytest.raises(QueueFull):
        admission.enter(TimeLimit(decide_by=clock.now + 0.1))


def test_an_idle_engine_takes_anyone_however_slow_it_was() -> None:
    clock = FakeClock()
    admission = Admission(0, 0, clock)
    admission.record(100, 3600)
    permit = admission.enter(TimeLimit(deadline=clock.now + 0.1))
    with pytest.raises(DeadlineUnreachable) as caught:
        admission.enter(TimeLimit(deadline=clock.now + 0.1))
    assert caught.value.retry_after == 60
    leave(permit)
    admission.enter(TimeLimit(deadline=clock.now + 0.1))


def test_before_anything_is_measured_nobody_is_late() -> None:
    clock = FakeClock()
    admission = Admission(0, 0, clock)
    entered(admission, 100, 100)
    admission.enter(TimeLimit(deadline=clock.now + 0.001))


@pytest.mark.parametrize(("under_way", "seconds"), [(2, 1.0), (80, 10.0), (800, 60.0)])
def test_a_longer_queue_keeps_away_for_longer(under_way: int, seconds: float) -> None:
    admission = measured(FakeClock(), requests=under_way)
    entered(admission, 100, under_way)
    with pytest.raises(QueueFull) as caught:
        admission.enter(UNLIMITED)
    assert caught.value.retry_after == pytest.approx(seconds)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.floats(0.01, 10)),
        st.tuples(st.just("charge"), st.integers(0, 20)),
        st.tuples(st.just("leave"), st.integers(0, 20)),
        st.tuples(st.just("record"), st.floats(0, 10)),
        st.tuples(st.just("wait"), st.floats(0, 10)),
    ),
    max_size=60,
)


@given(steps=STEPS, requests=st.integers(0, 5), tokens=st.integers(0, 500))
def test_what_is_under_way_stays_within_the_bounds_and_returns_to_zero(
    steps: list[tuple[str, float]], requests: int, tokens: int
) -> None:
    clock = FakeClock()
    admission = Admission(requests, tokens, clock)
    uncharged: list[Permit] = []
    charged: list[Permit] = []
    refused: list[float] = []
    for step, value in steps:
        try:
            if step == "enter":
                uncharged.append(admission.enter(TimeLimit(clock.now + value, clock.now + value * 2)))
            elif step == "charge" and uncharged:
                permit = uncharged[int(value) % len(uncharged)]
                permit.charge(1 + int(value) * 10)
                uncharged.remove(permit)
                charged.append(permit)
            elif step == "leave" and (inside := uncharged + charged):
                permit = inside[int(value) % len(inside)]
                leave(permit)
                (uncharged if permit in uncharged else charged).remove(permit)
            elif step == "record":
                admission.record(50, value)
            elif step == "wait":
                clock.now += value
        except (QueueFull, DeadlineUnreachable) as error:
            refused.append(error.retry_after)
        except DecideByMissed:
            pass
        now = admission.statistics
        assert now.requests == len(uncharged) + len(charged)
        assert now.requests <= (requests or now.requests)
        assert (now.tokens > 0) == bool(charged)
        assert now.tokens <= tokens or tokens == 0 or len(charged) == 1
    assert all(0.01 <= retry_after <= 60 for retry_after in refused)
    with ExitStack() as leaving:
        for permit in uncharged + charged:
            leaving.enter_context(permit)
    assert (admission.statistics.requests, admission.statistics.tokens) == (0, 0)
