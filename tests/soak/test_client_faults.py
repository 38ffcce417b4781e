"""`select` through everything that can happen to a router: none raises, and the reasons add up.

How far calls went over their deadline is counted and not asserted, since that is as much the machine's doing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pytest

from archroute import AsyncRouter, ModelMap, Router, Selection, Selector
from archroute import SelectionReason as Why
from archroute.selection import AnswerCache, CircuitBreaker
from support.faulty_router import FaultyRouter
from support.soak import pick

CALLS = pick(short=300, long=10_000)
AT_ONCE = 8
# Seconds, where the answer is what counts and not the deadline: enough on a busy machine.
PATIENT = 120.0
# That of `select` itself.
DEADLINE = 0.25

pytestmark = pytest.mark.timeout(pick(short=900, long=7_200))

# For each phase: its share of the calls, its deadline if not that of `select`, and what may come of a call.
PHASES: dict[str, tuple[float, float | None, set[Why]]] = {
    "healthy": (0.20, PATIENT, {Why.ANSWERED}),
    "garbage": (0.15, PATIENT, {Why.PROTOCOL_ERROR}),
    "empty": (0.10, PATIENT, {Why.PROTOCOL_ERROR}),
    "broken": (0.10, PATIENT, {Why.SERVER_ERROR}),
    "refusing": (0.05, PATIENT, {Why.UNAVAILABLE}),
    "slow": (0.10, None, {Why.DEADLINE_EXCEEDED}),
    "frozen": (0.05, None, {Why.DEADLINE_EXCEEDED}),
    # While gRPC connects again, a call waits for it, until its own deadline if that comes first.
    "killed": (0.15, None, {Why.UNAVAILABLE, Why.DEADLINE_EXCEEDED}),
    "restarted": (0.10, PATIENT, {Why.ANSWERED}),
}


class Selecting(Protocol):
    """One client, asked by several at once."""

    def all(self, texts: list[str], timeout: float | None) -> list[tuple[Selection, float]]:
        """The selections, each with the seconds that it took."""
        ...

    def close(self) -> None: ...


class Threads:
    """A `Router`, shared by threads."""

    def __init__(self, address: str, selector: Selector) -> None:
        self._router = Router(address, selector=selector)
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def all(self, texts: list[str], timeout: float | None) -> list[tuple[Selection, float]]:
        def one(text: str) -> tuple[Selection, float]:
            begun = time.perf_counter()
            return self._router.select(text, timeout=timeout), time.perf_counter() - begun

        return list(self._pool.map(one, texts))

    def close(self) -> None:
        self._pool.shutdown()
        self._router.close()


class Tasks:
    """An `AsyncRouter`, shared by tasks."""

    def __init__(self, address: str, selector: Selector) -> None:
        self._router = AsyncRouter(address, selector=selector)
        self._runner = asyncio.Runner()

    def all(self, texts: list[str], timeout: float | None) -> list[tuple[Selection, float]]:
        async def every() -> list[tuple[Selection, float]]:
            turn = asyncio.Semaphore(AT_ONCE)

            async def one(text: str) -> tuple[Selection, float]:
                async with turn:
                    begun = time.perf_counter()
                    return await self._router.select(text, timeout=timeout), time.perf_counter() - begun

            return list(await asyncio.gather(*map(one, texts)))

        return self._runner.run(every())

    def close(self) -> None:
        self._runner.run(self._router.close())
        self._runner.close()


class Run:
    """Goes through the phases, and keeps what came of them."""

    def __init__(self, faulty: FaultyRouter, selecting: Selecting) -> None:
        self.faulty = faulty
        self.seen: Counter[tuple[str, Why]] = Counter()
        self.overruns: dict[str, list[float]] = {}
        self._selecting = selecting

    def everything(self) -> None:
        for name in ("healthy", "garbage", "empty", "broken", "refusing", "slow"):
            self._phase(name)
        with self.faulty.frozen():
            self._phase("frozen")
        self.faulty.kill()
        self._phase("killed")
        self.faulty.start()
        self._until_it_is_found_again()
        self._phase("restarted")

    def _phase(self, name: str) -> None:
        share, timeout, _ = PHASES[name]
        texts = [f"{name} {number}" for number in range(round(CALLS * share))]
        for selection, seconds in self._selecting.all(texts, timeout):
            assert (selection.model.name, selection.policy) in (("large", "code"), ("default", None))
            assert (selection.reason is Why.ANSWERED) == (selection.policy == "code")
            self.seen[name, selection.reason] += 1
            if timeout is None:
                self.overruns.setdefault(name, []).append(seconds - DEADLINE)

    def _until_it_is_found_again(self) -> None:
        # Without anything being done for it: within the five seconds that gRPC waits at most to connect
        # again, and the two of the circuit breaker. Were it never found, the test's time limit would say so.
        while True:
            [(selection, _)] = self._selecting.all(["healthy again"], PATIENT)
            self.seen["found again", selection.reason] += 1
            if selection.reason is Why.ANSWERED:
                return

    def record(self, count: Callable[[str, object], None]) -> None:
        """Count the reasons, and how far the calls that had the deadline of `select` went over it."""
        by_phase: dict[str, dict[str, int]] = {}
        for (phase, reason), calls in self.seen.items():
            by_phase.setdefault(phase, {})[reason.name] = calls
        for phase, reasons in by_phase.items():
            count(f"{phase}: selections by reason", str(reasons))
            if phase in self.overruns:
                ordered = sorted(1_000 * each for each in self.overruns[phase])
                p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
                count(f"{phase}: p50, p99, most over 250 ms (ms)", f"{p50:.1f}, {p99:.1f}, {ordered[-1]:.1f}")


@pytest.fixture
def faulty() -> Iterator[FaultyRouter]:
    router = FaultyRouter()
    yield router
    router.kill()


@pytest.fixture(params=[Threads, Tasks])
def run(
    request: pytest.FixtureRequest, faulty: FaultyRouter, record_property: Callable[[str, object], None]
) -> Iterator[Callable[[Selector], Run]]:
    """Runs everything with a selector, and counts what came of it."""
    opened: list[Any] = []

    def run_with(selector: Selector) -> Run:
        opened.append(request.param(faulty.address, selector))
        run = Run(faulty, opened[-1])
        run.everything()
        run.record(record_property)
        return run

    yield run_with
    for each in opened:
        each.close()


def check_counters(run: Run, selector: Selector) -> None:
    """What the counters say is what the callers saw."""
    counted = selector.counters.snapshot()
    by_reason: Counter[Why] = Counter()
    for (_, reason), count in run.seen.items():
        by_reason[reason] += count
    assert {reason: count for reason, count in counted.by_reason.items() if count} == by_reason
    assert counted.selections == sum(run.seen.values()) == sum(counted.by_outcome.values())
    for name, (share, _, _) in PHASES.items():
        of_phase = sum(count for (phase, _), count in run.seen.items() if phase == name)
        assert of_phase == round(CALLS * share)


def test_asked_each_time_every_reason_is_the_right_one(run: Callable[[Selector], Run]) -> None:
    selector = Selector(
        ModelMap("default"),
        cache=AnswerCache(entries=0),
        breaker=CircuitBreaker(failures=1_000_000),
        stickiness=None,
    )
    done = run(selector)
    check_counters(done, selector)
    for (name, reason), count in done.seen.items():
        if name in PHASES:
            assert reason in PHASES[name][2], (name, reason, count)
    assert selector.counters.snapshot().calls == sum(done.seen.values())


def test_as_it_comes_the_circuit_spares_the_router(run: Callable[[Selector], Run]) -> None:
    selector = Selector(ModelMap("default"))
    done = run(selector)
    check_counters(done, selector)
    for (name, reason), count in done.seen.items():
        if name in PHASES:
            # The circuit may still be open when a phase begins that is better than the one before.
            assert reason in PHASES[name][2] | {Why.CIRCUIT_OPEN}, (name, reason, count)
    counted = selector.counters.snapshot()
    left_alone = counted.by_reason[Why.CIRCUIT_OPEN]
    assert left_alone > 0
    assert counted.calls == counted.selections - left_alone - counted.by_reason[Why.CACHED]
