"""Measuring one peer: latency case by case, then decisions per second."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import machine
from peers.cases import Case, read_cases
from peers.peer import Peer
from peers.results import Results
from peers.worker_process import PeerError, WorkerProcess, working

MAIN_CASE = "10 policies, 4 turns"
CALLERS = (1, 4, 16)
WARM_UP = 2
"""Requests at the beginning of each case that are not counted; they leave the policies' keys and values."""


@dataclass(frozen=True)
class Effort:
    """How long a case is measured: until `seconds` are over or all requests are, but `least` in any case."""

    seconds: float = 6.0
    burst_seconds: float = 4.0
    least: int = 3
    most: int = 120


def measure(peer: Peer, results: Results, effort: Effort, threads: int, say: Callable[[str], None]) -> None:
    """Measure what is missing of a peer's results, and write them down case by case.

    A peer that is not installed or fails is written down with the reason, and tried again the next time.
    """
    found = results.read(peer.name)
    if found.get("finished"):
        say(f"{peer.title}: measured already")
        return
    if module := peer.missing():
        results.write(peer.name, {"skipped": f"the module {module} is not installed"})
        say(f"{peer.title}: skipped, the module {module} is not installed")
        return
    if not (results.folder / peer.files).exists():
        results.write(peer.name, {"skipped": "its files could not be made; see 'prepare'"})
        say(f"{peer.title}: skipped, there is no {results.folder / peer.files}; run 'prepare'")
        return
    cases = read_cases(results.cases)
    found = {
        "machine": machine.describe(),
        "versions": peer.versions(),
        "threads": threads,
        "cases": {},
        "bursts": {},
    } | {key: value for key, value in found.items() if key in ("cases", "bursts")}
    try:
        with working(peer, results.folder, results.cases, threads, results.log(peer.name)) as worker:
            found["load_seconds"] = worker.load_seconds
            _measure_missing(worker, cases, found, effort, lambda: results.write(peer.name, found), say)
            found |= worker.ask("memory")
        found["finished"] = True
    except PeerError as error:
        found["failed"] = str(error)
        say(f"{error}; see {results.log(peer.name)}")
    results.write(peer.name, found)


def _measure_missing(
    worker: WorkerProcess,
    cases: dict[str, Case],
    found: dict[str, Any],
    effort: Effort,
    save: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    for case in cases.values():
        if case.name in found["cases"]:
            continue
        found["cases"][case.name] = latencies(worker, case, effort)
        save()
        say(f"  {case.name}: {len(found['cases'][case.name]['seconds'])} decisions")
    main = cases[MAIN_CASE]
    for callers in CALLERS:
        if str(callers) in found["bursts"]:
            continue
        first = _asked(found)
        if first >= len(main.requests):
            say(f"  {callers} callers: not measured, all {first} requests have been asked")
            continue
        worker.ask("decide", case=main.name, index=0)
        burst = worker.ask(
            "burst", case=main.name, callers=callers, seconds=effort.burst_seconds, first=first
        )
        found["bursts"][str(callers)] = burst
        save()
        say(f"  {callers} callers: {burst['decisions']} decisions")


def _asked(found: dict[str, Any]) -> int:
    """Return how many requests of the main case were asked, whose conversations a peer may have kept."""
    bursts = sum(burst["decisions"] for burst in found["bursts"].values())
    return WARM_UP + len(found["cases"][MAIN_CASE]["seconds"]) + bursts


def latencies(worker: WorkerProcess, case: Case, effort: Effort) -> dict[str, Any]:
    """Decide the requests of a case one after the other."""
    for index in range(WARM_UP):
        worker.ask("decide", case=case.name, index=index)
    answers: list[dict[str, Any]] = []
    start = time.monotonic()
    for index in range(WARM_UP, min(len(case.requests), WARM_UP + effort.most)):
        if len(answers) >= effort.least and time.monotonic() - start > effort.seconds:
            break
        answers.append(worker.ask("decide", case=case.name, index=index))
    return columns(answers)


def columns(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Turn the answers of a worker into lists, each in the order of the requests."""
    return {
        "seconds": [answer["seconds"] for answer in answers],
        "elsewhere": [answer["elsewhere"] for answer in answers],
        "policies": [answer["policy"] for answer in answers],
        "prompt_tokens": [answer["prompt_tokens"] for answer in answers],
    }


def main_case(cases: Path) -> Case:
    """Read the case that the bars are about."""
    return read_cases(cases)[MAIN_CASE]
