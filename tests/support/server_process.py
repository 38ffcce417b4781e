"""`archroute serve` as a process of its own, the way that users run it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHROUTE = (sys.executable, "-m", "archroute")

_EVENT = re.compile('"event": "([^"]*)"')

# Until a process that hangs is given up; nothing waits this long otherwise.
PATIENCE = 60.0


@dataclass
class ServerProcess:
    """A server under test, and what it wrote to standard error so far."""

    process: subprocess.Popen[str]
    _lines: list[str] = field(default_factory=list)
    _by_event: dict[str, list[str]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False

    def read_log(self) -> None:
        """Collect lines until the process closes standard error; runs on a thread."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line)
                if line.startswith("{") and (event := _EVENT.search(line)):
                    self._by_event.setdefault(event[1], []).append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        """Everything that was written so far."""
        with self._changed:
            return "".join(self._lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The JSON log lines of one event so far; other lines are the exporter's."""
        with self._changed:
            lines = list(self._by_event.get(name, ()))
        return [json.loads(line) for line in lines]

    def wait_for(self, event: str, count: int = 1, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until `event` was logged `count` times and return the last of them."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._by_event.get(event, ())) >= count or self._ended, timeout
            )
        found = self.events(event)
        assert len(found) >= count, f"no {event!r} within {timeout} s:\n{self.log}"
        return found[-1]

    @property
    def address(self) -> str:
        """Where it listens, as its log says."""
        return str(self.wait_for("listening, not ready yet")["address"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(
    *arguments: str | Path,
    command: Sequence[str | Path] = (*ARCHROUTE, "serve"),
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[ServerProcess]:
    """Start a server, and end it with the test however the test ends.

    `command` starts it, before its `arguments`. `environment` is the whole of it; this process's own, less
    settings of archroute, unless given.
    """
    process = subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=clean_environment() if environment is None else dict(environment),
        start_new_session=True,
    )
    server = ServerProcess(process)
    reader = threading.Thread(target=server.read_log, daemon=True)
    reader.start()
    try:
        yield server
    finally:
        # The whole group: a command such as `make serve` has the server for a child.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def clean_environment(additions: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of archroute that the machine may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARCHROUTE_")}
    return kept | dict(additions or {})


def run_archroute(
    *arguments: str | Path, stdin: str | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one `archroute` command to its end."""
    return subprocess.run(
        [*ARCHROUTE, *arguments],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        env=clean_environment(variables),
        check=False,
    )
