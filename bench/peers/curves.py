"""Latency over the work: new tokens, and policies."""

from collections.abc import Callable
from typing import Any

from peers import machine
from peers.cases import read_cases
from peers.measuring import Effort, latencies
from peers.peer import Peer
from peers.results import Results
from peers.worker_process import PeerError, working


def measure_curves(
    peer: Peer, results: Results, effort: Effort, threads: int, say: Callable[[str], None]
) -> None:
    """Measure what is missing of a peer's curves, point by point."""
    name = file_name(peer)
    found: dict[str, Any] = results.read(name) or {"cases": {}}
    cases = read_cases(results.curve_cases)
    missing = [case for case in cases.values() if case.name not in found["cases"]]
    if not missing:
        say(f"{peer.title}: the curves are measured already")
        return
    if peer.missing() or not (results.folder / peer.files).exists():
        say(f"{peer.title}: no curves, since it is not installed or has no files")
        return
    found["machine"] = machine.describe()
    try:
        with working(peer, results.folder, results.curve_cases, threads, results.log(name)) as worker:
            for case in missing:
                found["cases"][case.name] = latencies(worker, case, effort)
                results.write(name, found)
                say(f"  {case.name}: {len(found['cases'][case.name]['seconds'])} decisions")
    except PeerError as error:
        say(f"{error}; see {results.log(name)}")


def file_name(peer: Peer) -> str:
    """Return the name of a peer's curves among the results."""
    return f"curves-{peer.name}"
