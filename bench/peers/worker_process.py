"""A peer's process, seen from the benchmark."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peers
from peers.peer import Peer

# Long enough for a server to stop.
_END_SECONDS = 60.0


class PeerError(Exception):
    """A peer that could not be loaded, or could not answer; the message is its own."""


class WorkerProcess:
    """Sends commands and waits for their answers; `worker.py` lists both."""

    def __init__(self, process: "subprocess.Popen[str]", peer: Peer) -> None:
        self._process = process
        self._peer = peer
        self.load_seconds: float = self._read()["load_seconds"]

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Send one command and return its answer. Raises `PeerError`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says how it ended
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self._peer.title}: its process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self._peer.title}: {answer['error']}")
        return answer


@contextmanager
def working(peer: Peer, folder: Path, cases: Path, threads: int, log: Path) -> Iterator[WorkerProcess]:
    """Start a peer's process and end it. What it writes goes to `log`. Raises `PeerError`."""
    command = [sys.executable, "-m", "peers.worker", peer.name, str(folder), str(cases), str(threads)]
    bench = str(Path(peers.__file__).parents[1])
    path = os.pathsep.join(filter(None, (bench, os.environ.get("PYTHONPATH"))))
    # Everything is on disk already; nobody should go looking for it on a hub.
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as written:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        try:
            yield WorkerProcess(process, peer)
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
