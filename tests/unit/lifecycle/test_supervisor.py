"""What the supervisor makes of an engine's vitals. Each look is the test's own; no clock takes part."""

import asyncio
from dataclasses import replace

import pytest

from archroute_server.engine.errors import ModelFailed
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.lifecycle import supervisor as supervisor_module
from archroute_server.lifecycle.served_engine import CurrentEngine
from archroute_server.lifecycle.supervisor import ModelHangs, Supervisor
from support.fake_engine import HEALTHY, FakeEngine

FAILURES = 3
FORWARD_TIMEOUT = 10.0


class Health:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.reports: list[bool] = []

    async def open_for_calls(self) -> None:
        self.reports.append(True)

    async def close_for_calls(self) -> None:
        self.reports.append(False)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def current(engine: FakeEngine) -> CurrentEngine:
    return CurrentEngine(engine)


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def supervisor(current: CurrentEngine, health: Health) -> Supervisor:
    return Supervisor(current, health, failures=FAILURES, forward_timeout=FORWARD_TIMEOUT)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "PROBE_SECONDS", 0)
    monkeypatch.setattr(supervisor_module, "LOOK_SECONDS", 0)


def failing(times: int) -> object:
    return replace(HEALTHY, failed_runs=times, failures_in_a_row=times)


def stalled(seconds: float) -> object:
    return replace(HEALTHY, forward_seconds=seconds, stalled=seconds > FORWARD_TIMEOUT)


async def look(supervisor: Supervisor, times: int = 1) -> None:
    """Look, and let a probe go on in between."""
    for _ in range(times):
        await supervisor.look()
        await asyncio.sleep(0)


async def test_a_healthy_engine_is_left_alone(
    supervisor: Supervisor, engine: FakeEngine, health: Health
) -> None:
    await look(supervisor, 3)
    assert (health.reports, engine.probes, engine.abandoned) == ([], 0, 0)


@pytest.mark.parametrize(("times", "reports"), [(FAILURES - 1, []), (FAILURES, [False]), (99, [False])])
async def test_so_many_failures_in_a_row_are_too_many(
    supervisor: Supervisor, engine: FakeEngine, health: Health, times: int, reports: list[bool]
) -> None:
    engine.vitals = failing(times)
    await look(supervisor)
    assert health.reports == reports


async def test_failures_may_be_left_out_of_account(current: CurrentEngine, health: Health) -> None:
    current.engine.vitals = failing(99)  # type: ignore[misc, assignment]
    await look(Supervisor(current, health, failures=0, forward_timeout=FORWARD_TIMEOUT))
    assert health.reports == []


async def test_it_serves_again_once_a_probe_succeeds(
    supervisor: Supervisor, engine: FakeEngine, health: Health
) -> None:
    engine.vitals = failing(FAILURES)
    engine.probe_error = ModelFailed()
    await look(supervisor, 7)
    assert engine.probes >= 3
    assert health.reports == [False]
    engine.probe_error = None
    # The model runs again for others, but only a probe says that its answers are right.
    engine.vitals = HEALTHY
    before = engine.probes
    await look(supervisor, 3)
    assert engine.probes > before
    assert health.reports == [False, True]
    await look(supervisor, 3)
    assert health.reports == [False, True]


async def test_a_probe_with_a_wrong_answer_is_no_success(
    supervisor: Supervisor, engine: FakeEngine, health: Health
) -> None:
    engine.vitals = failing(FAILURES)
    engine.probe_error = SelfTestFailed("prompt 1 of 6")
    await look(supervisor)
    engine.vitals = HEALTHY
    await look(supervisor, 5)
    assert health.reports == [False]


async def test_nobody_is_kept_waiting_for_a_pass_that_hangs(
    supervisor: Supervisor, engine: FakeEngine, health: Health
) -> None:
    engine.vitals = stalled(FORWARD_TIMEOUT - 1)
    await look(supervisor)
    assert (health.reports, engine.abandoned) == ([], 0)
    engine.vitals = stalled(FORWARD_TIMEOUT + 1)
    await look(supervisor, 2)
    # Reported once, and whoever came in between is told too. A probe would only get in line.
    assert (health.reports, engine.abandoned, engine.probes) == ([False], 2, 0)
    engine.vitals = HEALTHY
    await look(supervisor, 4)
    assert (health.reports, engine.probes) == ([False, True], 1)


async def test_a_pass_that_never_ends_ends_the_server(supervisor: Supervisor, engine: FakeEngine) -> None:
    engine.vitals = stalled(2 * FORWARD_TIMEOUT)
    await look(supervisor)
    engine.vitals = stalled(2 * FORWARD_TIMEOUT + 1)
    with pytest.raises(ModelHangs, match=r"has run for 21 s, where --forward-timeout-seconds allows 10"):
        await supervisor.run()


async def test_a_probe_that_hangs_is_a_pass_that_hangs(
    supervisor: Supervisor, engine: FakeEngine, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(engine, "probe", hang)
    engine.vitals = failing(FAILURES)
    await look(supervisor, 2)
    assert started.is_set()
    await look(supervisor, 3)
    engine.vitals = stalled(FORWARD_TIMEOUT + 1)
    await look(supervisor)
    assert engine.abandoned == 1
    assert health.reports[0] is False
    assert True not in health.reports


async def test_an_engine_that_takes_its_place_is_healthy(
    supervisor: Supervisor, engine: FakeEngine, current: CurrentEngine, health: Health
) -> None:
    engine.vitals = stalled(FORWARD_TIMEOUT + 1)
    await look(supervisor)
    another = FakeEngine()
    current.replace(another)
    await look(supervisor, 2)
    assert health.reports == [False, True]
    another.vitals = failing(FAILURES)
    await look(supervisor)
    assert health.reports == [False, True, False]
