import threading
from collections.abc import Sequence

import pytest

from peers.backends.backend import Backend, Decided, process_memory
from peers.cases import Case, Request
from peers.worker import Worker


class Recorder(Backend):
    """Chooses `travel`, and notes which requests came, and how many at a time."""

    def __init__(self, *, concurrent: bool = False, batches: bool = False) -> None:
        self.concurrent = concurrent
        self.batches = batches
        self.asked: list[str] = []
        self.together: list[int] = []
        self._inside = threading.Semaphore(1)

    def decide(self, case: Case, request: Request) -> Decided:
        if not self.concurrent:
            assert self._inside.acquire(blocking=False), "two callers at the same time"
        self.asked.append(request.prompt)
        if not self.concurrent:
            self._inside.release()
        return Decided("travel", request.tokens, 0.25)

    def decide_together(self, case: Case, requests: Sequence[Request]) -> list[Decided]:
        self.together.append(len(requests))
        return super().decide_together(case, requests)


def test_a_decision_is_answered_with_what_it_took(case: Case) -> None:
    answer = Worker(Recorder(), {case.name: case}).answer({"do": "decide", "case": case.name, "index": 2})
    assert answer.pop("seconds") >= 0
    assert answer == {"policy": "travel", "prompt_tokens": 32, "elsewhere": 0.25}


def burst(backend: Backend, case: Case, callers: int, seconds: float) -> int:
    worker = Worker(backend, {case.name: case})
    command = {"do": "burst", "case": case.name, "callers": callers, "seconds": seconds, "first": 2}
    decisions: int = worker.answer(command)["decisions"]
    return decisions


def test_callers_of_one_at_a_time_stop_when_the_time_is_over(case: Case) -> None:
    backend = Recorder()
    assert burst(backend, case, callers=4, seconds=0) == 1
    assert backend.asked == [case.requests[2].prompt]


def test_callers_ask_at_the_same_time_where_that_is_possible(case: Case) -> None:
    class Met(Exception):
        pass

    class Meeting(Recorder):
        everyone = threading.Barrier(4, timeout=60)

        def decide(self, case: Case, request: Request) -> Decided:
            super().decide(case, request)
            self.everyone.wait()
            raise Met

    backend = Meeting(concurrent=True)
    with pytest.raises(Met):
        burst(backend, case, callers=4, seconds=60)
    # The requests come in turn, beginning with the one that was named.
    assert sorted(backend.asked) == sorted(case.requests[index].prompt for index in (2, 3, 4, 5))


def test_those_that_wait_are_decided_together(case: Case) -> None:
    backend = Recorder(batches=True)
    assert burst(backend, case, callers=3, seconds=0) == 3
    assert backend.together == [3]
    assert backend.asked == [case.requests[index].prompt for index in (2, 3, 4)]


@pytest.mark.parametrize("batches", [False, True])
def test_no_request_is_asked_twice(case: Case, batches: bool) -> None:
    backend = Recorder(batches=batches)
    assert burst(backend, case, callers=3, seconds=60) == len(case.requests) - 2
    assert sorted(backend.asked) == sorted(request.prompt for request in case.requests[2:])


def test_a_failure_of_one_caller_is_the_answer(case: Case) -> None:
    class Failing(Recorder):
        def decide(self, case: Case, request: Request) -> Decided:
            raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        burst(Failing(concurrent=True), case, callers=4, seconds=0)


def test_memory_is_this_process_s(case: Case) -> None:
    found = Worker(Recorder(), {}).answer({"do": "memory"})
    assert found["peak_bytes"] >= 0.9 * found["resident_bytes"] > 0


def test_a_field_that_a_process_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="has no VmNothing"):
        process_memory("self", "VmNothing")
