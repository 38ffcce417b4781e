"""The process of one peer: `python -m peers.worker PEER FOLDER CASES THREADS` answers JSON lines.

It says `{"ready": true, "load_seconds": ...}` once the model is loaded, and then answers each line on
standard input with one on standard output:

    {"do": "decide", "case": NAME, "index": 3}      {"policy", "prompt_tokens", "seconds", "elsewhere"}
    {"do": "burst", "case": NAME, "callers": 4,     {"decisions", "seconds"}
     "seconds": 5.0, "first": 10}
    {"do": "memory"}                                {"peak_bytes", "resident_bytes"}

What goes wrong is answered as `{"error": ...}`. The end of standard input ends the process.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from peers.backends.backend import Backend
from peers.cases import Case, Request, read_cases
from peers.peer import PEERS, SERVER, Peer


class Worker:
    """Carries out commands on one backend."""

    def __init__(self, backend: Backend, cases: Mapping[str, Case]) -> None:
        self._backend = backend
        self._cases = cases

    def answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command of the module's list."""
        if command["do"] == "memory":
            return {
                "peak_bytes": self._backend.peak_bytes(),
                "resident_bytes": self._backend.resident_bytes(),
            }
        case = self._cases[command["case"]]
        if command["do"] == "decide":
            return self._decide(case, command["index"])
        return self._burst(case, command["callers"], command["seconds"], command["first"])

    def _decide(self, case: Case, index: int) -> dict[str, Any]:
        request = case.requests[index]
        start = time.perf_counter()
        decided = self._backend.decide(case, request)
        seconds = time.perf_counter() - start
        return {
            "policy": decided.policy,
            "prompt_tokens": decided.prompt_tokens,
            "seconds": seconds,
            "elsewhere": decided.elsewhere,
        }

    def _burst(self, case: Case, callers: int, seconds: float, first: int) -> dict[str, Any]:
        """Let callers ask one after the other until the time, or the requests from `first` on, are over.

        At least one of them asks once. None is asked a second time, when its conversation would be known.
        """
        turn = _Turns(case.requests[first:])
        start = time.perf_counter()
        end = start + seconds
        if self._backend.batches:
            # Their answers come together, so all ask again at the same time.
            while not turn.taken or time.perf_counter() < end:
                if not (together := turn.take(callers)):
                    break
                self._backend.decide_together(case, together)
        else:
            self._call_from_threads(case, callers, end, turn)
        return {"decisions": turn.taken, "seconds": time.perf_counter() - start}

    def _call_from_threads(self, case: Case, callers: int, end: float, turn: "_Turns") -> None:
        one_at_a_time: AbstractContextManager[object] = (
            nullcontext() if self._backend.concurrent else threading.Lock()
        )
        failures: list[BaseException] = []

        def call() -> None:
            try:
                while not failures:
                    with one_at_a_time:
                        # Waiting for the others may have taken all the time that there was.
                        if turn.taken and time.perf_counter() >= end:
                            break
                        if not (request := turn.take(1)):
                            break
                        self._backend.decide(case, *request)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class _Turns:
    """Hands out requests in turn, each once, to several threads."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests
        self._lock = threading.Lock()
        self.taken = 0

    def take(self, most: int) -> Sequence[Request]:
        """Return the next requests, fewer than `most` if there are no more."""
        with self._lock:
            taken = self._requests[self.taken : self.taken + most]
            self.taken += len(taken)
            return taken


def load(peer: Peer, folder: Path, threads: int, cases: dict[str, Case]) -> Backend:
    """Load a peer's model out of a shape's folder."""
    module, _, name = peer.backend.partition(":")
    backend = getattr(importlib.import_module(f"peers.backends.{module}"), name)
    # The server has to be told the policies before it starts; the others get them with a request.
    told = {"cases": cases} if peer.name == SERVER else dict(peer.options)
    loaded: Backend = backend(folder / peer.files, threads, **told)
    return loaded


def main() -> None:
    """Load, then answer line by line."""
    peer, folder, threads = PEERS[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[4])
    # Libraries write to standard output as they like; the answers go where it was before.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    cases = read_cases(Path(sys.argv[3]))

    def say(value: Mapping[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    start = time.perf_counter()
    try:
        backend = load(peer, folder, threads, cases)
    except Exception as error:  # noqa: BLE001
        say({"error": f"{type(error).__name__}: {error}"})
        return
    say({"ready": True, "load_seconds": time.perf_counter() - start})
    worker = Worker(backend, cases)
    for line in sys.stdin:
        try:
            say(worker.answer(json.loads(line)))
        except Exception as error:  # noqa: BLE001
            say({"error": f"{type(error).__name__}: {error}"})
    backend.close()


if __name__ == "__main__":
    main()
