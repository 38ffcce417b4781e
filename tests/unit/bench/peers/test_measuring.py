from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peers import measuring
from peers.cases import write_cases
from peers.measuring import CALLERS, MAIN_CASE, WARM_UP, Effort, latencies, measure
from peers.peer import PEERS, Peer
from peers.results import Results
from peers.shapes import SHAPES
from peers.worker_process import PeerError
from support.bench_results import make_case

PEER = PEERS["archroute"]
FIFTY = "50 policies, 4 turns"
EFFORT = Effort(seconds=1e9, burst_seconds=1.0, least=2, most=3)


class FakeWorker:
    """Answers at once, and notes what it was asked; it fails at the case named `broken`."""

    load_seconds = 1.5

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.asked: list[tuple[str, int]] = []
        self.bursts: list[tuple[int, int]] = []

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        if do == "memory":
            return {"peak_bytes": 2**30, "resident_bytes": 2**29}
        if arguments["case"] == self.broken:
            raise PeerError("its process ended")
        if do == "burst":
            self.bursts.append((arguments["callers"], arguments["first"]))
            return {"decisions": 10, "seconds": 1.0}
        self.asked.append((arguments["case"], arguments["index"]))
        return {"policy": "code", "prompt_tokens": 30, "seconds": 0.5, "elsewhere": None}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(SHAPES["135m"], tmp_path)
    write_cases(results.cases, [make_case(MAIN_CASE, 40), make_case(FIFTY, 9)])
    (results.folder / PEER.files).mkdir()
    return results


def use(monkeypatch: pytest.MonkeyPatch, worker: FakeWorker) -> None:
    @contextmanager
    def working(*_: object) -> Iterator[FakeWorker]:
        yield worker

    monkeypatch.setattr(measuring, "working", working)


def run(results: Results, peer: Peer = PEER) -> list[str]:
    said: list[str] = []
    measure(peer, results, EFFORT, 2, said.append)
    return said


def test_every_case_and_number_of_callers_is_measured(
    monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    worker = FakeWorker()
    use(monkeypatch, worker)
    run(results)
    found = results.read(PEER.name)
    assert list(found["cases"]) == [MAIN_CASE, FIFTY]
    assert all(case["seconds"] == [0.5] * 3 for case in found["cases"].values())
    # Each begins with the first request that was not asked: two that are not counted, three, and ten a burst.
    assert worker.bursts == [(callers, 5 + 10 * turn) for turn, callers in enumerate(CALLERS)]
    assert found["finished"]
    assert (found["peak_bytes"], found["load_seconds"], found["threads"]) == (2**30, 1.5, 2)
    assert set(found["versions"]) == set(PEER.distributions)


def test_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = FakeWorker()
    found = latencies(worker, make_case(MAIN_CASE, 40), EFFORT)  # type: ignore[arg-type]
    assert [index for _, index in worker.asked] == list(range(WARM_UP + 3))
    assert len(found["seconds"]) == 3


def test_time_that_is_over_ends_a_case_after_the_least() -> None:
    effort = Effort(seconds=-1.0, least=2, most=5)
    found = latencies(FakeWorker(), make_case(MAIN_CASE, 40), effort)  # type: ignore[arg-type]
    assert len(found["policies"]) == 2


def test_an_interrupted_run_goes_on(monkeypatch: pytest.MonkeyPatch, results: Results) -> None:
    use(monkeypatch, FakeWorker(broken=FIFTY))
    assert any("its process ended" in line for line in run(results))
    broken = results.read(PEER.name)
    assert list(broken["cases"]) == [MAIN_CASE]
    assert "its process ended" in broken["failed"]
    worker = FakeWorker()
    use(monkeypatch, worker)
    run(results)
    assert FIFTY in {case for case, _ in worker.asked}
    assert {case for case, index in worker.asked if index > 0} == {FIFTY}
    found = results.read(PEER.name)
    assert found["finished"]
    assert "failed" not in found


def test_what_is_measured_is_not_measured_again(monkeypatch: pytest.MonkeyPatch, results: Results) -> None:
    use(monkeypatch, FakeWorker())
    run(results)
    use(monkeypatch, FakeWorker(broken=MAIN_CASE))
    assert run(results) == [f"{PEER.title}: measured already"]


def test_a_peer_that_is_not_installed_is_named(results: Results) -> None:
    peer = Peer("stranger", "A stranger", "x:Y", "files", ("no_such_module",), ("stranger",))
    assert run(results, peer) == ["A stranger: skipped, the module no_such_module is not installed"]
    assert results.read("stranger") == {"skipped": "the module no_such_module is not installed"}


def test_a_module_inside_a_package_that_is_missing_is_named() -> None:
    peer = Peer("stranger", "A stranger", "x:Y", "files", ("no_such_package.module",), ())
    assert peer.missing() == "no_such_package.module"
    assert PEER.missing() == ""


def test_a_peer_without_files_is_named(results: Results) -> None:
    (results.folder / PEER.files).rmdir()
    (line,) = run(results)
    assert "run 'prepare'" in line
    assert "could not be made" in results.read(PEER.name)["skipped"]
