"""Who waits, who left, and why, with a clock that only the test moves."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.engine.answer import FallbackReason
from archroute_server.engine.errors import DeadlineExceeded, EngineClosed
from archroute_server.engine.layout import lay_out
from archroute_server.engine.packed_row import Question
from archroute_server.engine.request import Request, Settled
from archroute_server.engine.request_queue import RequestQueue
from archroute_server.engine.time_limit import UNLIMITED, DecideByMissed, TimeLimit
from archroute_server.router.trie import AnswerTrie
from archroute_server.telemetry.stages import Stage, StageRun
from support.fake_clock import FakeClock
from support.scripted_condition import Happening, ScriptedCondition

QUESTION = Question([1, 2], lay_out(AnswerTrie(["a", "b"], [(1, 0), (2, 0)])))
RESULT = Settled((), cached=0, forward_passes=1, started=0.0, seconds=0.0)


def request(limit: TimeLimit = UNLIMITED) -> Request:
    return Request(QUESTION, 0, limit=limit)


def filled(clock: FakeClock, requests: Sequence[Request]) -> RequestQueue:
    queue = RequestQueue(clock)
    for each in requests:
        queue.put(each)
    return queue


def counts(queue: RequestQueue) -> tuple[int, int, int]:
    statistics = queue.statistics
    return statistics.waiting, statistics.cancelled, statistics.expired


def test_a_cancelled_request_leaves_at_once() -> None:
    first, second = request(), request()
    queue = filled(FakeClock(), [first, second])
    assert first.future.cancel()
    assert counts(queue) == (1, 1, 0)
    assert queue.waiting() == [second]


def test_one_that_is_cancelled_because_its_time_is_over_has_expired() -> None:
    clock = FakeClock()
    late = request(TimeLimit(deadline=clock.now + 1))
    queue = filled(clock, [late])
    clock.now += 1
    assert late.future.cancel()
    assert counts(queue) == (0, 0, 1)


def test_an_expired_request_is_not_run() -> None:
    clock = FakeClock()
    limits = (
        TimeLimit(deadline=clock.now + 1),
        TimeLimit(deadline=clock.now + 5, decide_by=clock.now + 1),
        TimeLimit(deadline=clock.now + 5),
    )
    late, undecided, in_time = requests = [request(limit) for limit in limits]
    queue = filled(clock, requests)
    clock.now += 1
    assert queue.waiting() == [in_time]
    assert counts(queue) == (1, 0, 2)
    with pytest.raises(DeadlineExceeded):
        late.future.result(0)
    with pytest.raises(DecideByMissed) as caught:
        undecided.future.result(0)
    assert caught.value.reason is FallbackReason.DECIDE_BY_PASSED
    assert queue.take([in_time]) == [in_time]
    assert counts(queue) == (0, 0, 2)


def test_one_that_was_taken_and_decided_did_not_leave() -> None:
    decided = request()
    queue = filled(FakeClock(), [decided])
    assert queue.take(queue.waiting()) == [decided]
    assert not decided.future.cancel()
    decided.future.set_result(RESULT)
    assert counts(queue) == (0, 0, 0)


def test_closing_is_neither_cancelling_nor_expiring() -> None:
    waiting = request()
    queue = filled(FakeClock(), [waiting])
    queue.close()
    with pytest.raises(EngineClosed):
        waiting.future.result(0)
    assert counts(queue) == (0, 0, 0)


@given(
    st.lists(st.tuples(st.sampled_from(["put", "cancel", "wait", "take"]), st.integers(0, 9)), max_size=50)
)
def test_every_request_waits_or_was_taken_or_is_counted_once(steps: list[tuple[str, int]]) -> None:
    clock = FakeClock()
    queue = RequestQueue(clock)
    asked: list[Request] = []
    taken: list[Request] = []
    for step, value in steps:
        if step == "put":
            asked.append(request(TimeLimit(deadline=clock.now + value)))
            queue.put(asked[-1])
        elif step == "cancel" and asked:
            asked[value % len(asked)].future.cancel()
        elif step == "wait":
            clock.now += value
        elif step == "take":
            taken += queue.take(queue.waiting()[:value])
        waiting, cancelled, expired = counts(queue)
        assert min(waiting, cancelled, expired) >= 0
        assert waiting + cancelled + expired + len(taken) == len(asked)
    for each in asked:
        each.future.cancel()
    assert queue.statistics.waiting == 0


def test_whoever_leaves_tells_its_observer_why() -> None:
    clock = FakeClock()
    seen: dict[str, StageRun] = {}

    def observed(name: str, limit: TimeLimit = UNLIMITED) -> Request:
        return Request(QUESTION, 0, limit, lambda run: seen.__setitem__(name, run))

    soon = clock.now + 1
    taken, cancelled, closed = observed("taken"), observed("cancelled"), observed("closed")
    late = observed("late", TimeLimit(deadline=soon))
    undecided = observed("undecided", TimeLimit(decide_by=soon))
    given_up = observed("given up", TimeLimit(deadline=soon))
    queue = filled(clock, [taken, cancelled, closed, late, undecided, given_up])
    cancelled.future.cancel()
    assert queue.take([taken]) == [taken]
    clock.now += 1
    given_up.future.cancel()
    assert queue.waiting() == [closed]
    queue.close()
    assert {name: run.error for name, run in seen.items()} == {
        "taken": "",
        "cancelled": "CancelledError",
        "closed": "EngineClosed",
        "late": "DeadlineExceeded",
        "undecided": "DecideByMissed",
        "given up": "DeadlineExceeded",
    }
    assert {run.stage for run in seen.values()} == {Stage.QUEUE}


def queue_with_gaps(gap: float, script: Sequence[Happening] = ()) -> tuple[RequestQueue, ScriptedCondition]:
    """Return a queue that saw requests `gap` seconds apart, and has none."""
    clock = FakeClock()
    condition = ScriptedCondition(clock, list(script))
    queue = RequestQueue(clock, condition)
    for _ in range(5):
        queue.put(request())
        clock.now += gap
    queue.take(queue.waiting())
    return queue, condition


def put_one(queue: RequestQueue) -> Request:
    queue.put(one := request())
    return one


def test_one_that_is_likely_to_come_is_waited_for() -> None:
    queue, condition = queue_with_gaps(0.25)
    oldest = put_one(queue)
    condition.script.append(Happening(0.125, lambda: put_one(queue)))
    assert queue.wait_for_another(oldest, longest=1.0)
    assert len(queue.waiting()) == 2


def test_no_wait_is_longer_than_two_gaps() -> None:
    queue, condition = queue_with_gaps(0.25)
    assert not queue.wait_for_another(put_one(queue), longest=1.0)
    assert condition.timeouts == [0.5]


def test_the_oldest_waits_no_longer_than_it_may() -> None:
    queue, condition = queue_with_gaps(0.25)
    oldest = put_one(queue)
    condition.clock.now += 0.6875
    assert not queue.wait_for_another(oldest, longest=1.0)
    assert condition.timeouts == [0.3125]
    assert not queue.wait_for_another(oldest, longest=1.0)
    assert len(condition.timeouts) == 1


def test_one_that_is_not_likely_to_come_in_time_is_not_waited_for() -> None:
    queue, condition = queue_with_gaps(2.0)
    assert not queue.wait_for_another(put_one(queue), longest=1.0)
    alone = RequestQueue(condition.clock, condition)
    assert not alone.wait_for_another(put_one(alone), longest=1.0)
    assert condition.timeouts == []


def test_a_queue_that_is_closed_meanwhile_has_no_other() -> None:
    queue, condition = queue_with_gaps(0.25)
    oldest = put_one(queue)
    condition.script.append(Happening(0.125, queue.close))
    assert not queue.wait_for_another(oldest, longest=1.0)
    assert not queue.wait_for_another(oldest, longest=1.0)
    assert len(condition.timeouts) == 1


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=20),
    longest=st.floats(0, 2),
    coming=st.lists(st.floats(0, 2), max_size=10),
)
def test_however_they_come_the_oldest_waits_no_longer_than_it_may(
    gaps: list[float], longest: float, coming: list[float]
) -> None:
    clock = FakeClock()
    condition = ScriptedCondition(clock)
    queue = RequestQueue(clock, condition)
    for gap in gaps:
        queue.put(request())
        clock.now += gap
    queue.take(queue.waiting())
    oldest = put_one(queue)
    arrived = clock.now
    condition.script += [Happening(after, lambda: put_one(queue)) for after in coming]
    while queue.wait_for_another(oldest, longest):
        pass
    assert clock.now <= arrived + longest + 1e-6
    assert len(condition.timeouts) <= len(coming) + 1
