"""Phases are run in processes of their own, within a time that is given for all."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_run.packages import Package
from gpu_run.phases import ATTENTION, BUILD, CEILINGS, ENGINE, Phase
from gpu_run.plan import DRY_RUN, REQUESTS
from gpu_run.running import Outcome, Runner
from peers.results import Results

Run = Callable[..., dict[str, Outcome]]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(DRY_RUN.shape, tmp_path)


@pytest.fixture
def run(results: Results, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run phases whose processes carry out the code that is given for each."""

    def run(codes: dict[Phase, str], minutes: float = 1.0) -> dict[str, Outcome]:
        runner = Runner(DRY_RUN, results, minutes, say=lambda line: None)
        monkeypatch.setattr(runner, "_command", lambda phase: [sys.executable, "-c", codes[phase]])
        runner.run(list(codes), save=lambda: None)
        return runner.outcomes

    return run


def test_a_phase_that_ends_well_is_finished(run: Run) -> None:
    assert run({Phase(CEILINGS): "pass"})[CEILINGS].ended == "finished"


def test_what_an_earlier_run_measured_is_told_beside(run: Run, results: Results) -> None:
    run({Phase(CEILINGS): "raise SystemExit('no')"})
    outcomes = run({Phase(ATTENTION): "pass"})
    assert {name: outcome.ended for name, outcome in outcomes.items()} == {
        CEILINGS: "failed",
        ATTENTION: "finished",
    }
    results.write(CEILINGS, {"copy": 1})
    assert Runner(DRY_RUN, results, 1.0, say=lambda line: None).found()[CEILINGS] == {"copy": 1}


def test_a_phase_that_hangs_is_stopped_with_its_children(run: Run) -> None:
    child = "[sys.executable, '-c', 'import time; time.sleep(600)']"
    code = f"import subprocess, sys; subprocess.run({child})"
    outcome = run({Phase(CEILINGS, seconds=0.5): code})[CEILINGS]
    assert (outcome.ended, outcome.reason) == ("stopped", "its time was over")


def test_a_phase_that_fails_says_what_it_wrote_down(run: Run, results: Results) -> None:
    path = results.folder / "results" / f"{CEILINGS}.json"
    code = (
        f"import json; json.dump({{'error': 'no such thing'}}, open({str(path)!r}, 'w')); raise SystemExit(1)"
    )
    outcome = run({Phase(CEILINGS): code})[CEILINGS]
    assert (outcome.ended, outcome.reason) == ("failed", "no such thing")


def test_a_phase_that_could_write_nothing_down_says_its_last_line(run: Run) -> None:
    assert run({Phase(CEILINGS): "raise SystemExit('no such module')"})[CEILINGS].reason == "no such module"


def test_a_crash_is_named_and_the_next_phase_runs(run: Run) -> None:
    outcomes = run({Phase(CEILINGS): "import os; os.abort()", Phase(ATTENTION): "pass"})
    assert "SIGABRT" in outcomes[CEILINGS].reason
    assert outcomes[ATTENTION].ended == "finished"


def test_without_time_a_phase_is_skipped(run: Run) -> None:
    outcome = run({Phase(CEILINGS): "pass"}, minutes=0.1)[CEILINGS]
    assert (outcome.ended, outcome.reason) == ("skipped", "no time was left")


def test_without_a_package_a_phase_is_skipped(run: Run) -> None:
    phase = Phase(CEILINGS, needs=(Package("no_such_module", "torch"),))
    assert run({phase: "pass"})[CEILINGS].reason == "not installed: torch"


def test_without_a_bundle_no_engine_is_tried(run: Run) -> None:
    phase = Phase(ENGINE, ("cpu", "packed"))
    assert run({phase: "pass"})[phase.name].reason == "there is no bundle"


def test_what_was_found_before_does_not_count(run: Run, results: Results) -> None:
    phase = Phase(ENGINE, ("cpu", "packed"))
    results.write(REQUESTS, {"cases": {}})
    results.write(phase.name, {"cases": {"old": {}}})
    run({phase: "pass"})
    assert results.read(phase.name) == {}


def test_a_provider_that_measured_nothing_is_not_tried_in_another_variant(run: Run, results: Results) -> None:
    ready = results.folder / "results" / f"{REQUESTS}.json"
    first, second = Phase(ENGINE, ("tensorrt", "packed")), Phase(ENGINE, ("tensorrt", "one by one"))
    other = Phase(ENGINE, ("tensorrt-rtx", "packed"))
    outcomes = run(
        {
            Phase(CEILINGS): f"open({str(ready)!r}, 'w').write('{{\"cases\": 1}}')",
            first: "raise SystemExit('no')",
            second: "pass",
            other: "pass",
        }
    )
    assert outcomes[second.name].reason == "engine, tensorrt, packed measured nothing"
    assert outcomes[other.name].ended == "finished"


def test_without_its_engines_a_provider_is_not_tried(run: Run, results: Results) -> None:
    ready = results.folder / "results" / f"{REQUESTS}.json"
    phase = Phase(ENGINE, ("tensorrt", "packed"))
    outcomes = run(
        {
            Phase(CEILINGS): f"open({str(ready)!r}, 'w').write('{{\"cases\": 1}}')",
            Phase(BUILD, ("tensorrt",)): "raise SystemExit('no')",
            phase: "pass",
        }
    )
    assert outcomes[phase.name].reason == "build, tensorrt did not finish"
