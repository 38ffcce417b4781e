"""From the start of `archroute serve` to its first answer, and the memory that it then holds."""

import time
from collections.abc import Callable

from peers import machine
from peers.cases import read_cases, write_cases
from peers.measuring import MAIN_CASE, WARM_UP
from peers.peer import PEERS, SERVER
from peers.results import Results
from peers.worker_process import PeerError, working

NAME = "start"
_DECISIONS = 20


def measure_start(results: Results, threads: int, say: Callable[[str], None]) -> None:
    """Start a server with one policy set, twice, since the first start may find the disk cold."""
    if results.read(NAME):
        say("The start is measured already")
        return
    case = read_cases(results.cases)[MAIN_CASE]
    alone = results.folder / "start-cases.json"
    write_cases(alone, [case])
    try:
        for _ in range(2):
            begun = time.monotonic()
            with working(PEERS[SERVER], results.folder, alone, threads, results.log(NAME)) as worker:
                worker.ask("decide", case=case.name, index=0)
                seconds = time.monotonic() - begun
                for index in range(_DECISIONS):
                    worker.ask("decide", case=case.name, index=WARM_UP + index)
                memory = worker.ask("memory")
    except PeerError as error:
        say(f"{error}; see {results.log(NAME)}")
        return
    results.write(NAME, {"machine": machine.describe(), "first_answer_seconds": seconds, **memory})
    say(f"  {seconds:.1f} s to the first answer, {memory['peak_bytes'] / 2**30:.2f} GiB at the peak")
