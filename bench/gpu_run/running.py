"""Running the phases one after the other, within a time that is given for all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_run import phases
from gpu_run.packages import missing
from gpu_run.phases import Phase
from gpu_run.plan import DRY_RUN, REQUESTS, Plan
from peers.results import Results

_ROOT = Path(__file__).parents[2]
SOURCES = tuple(str(_ROOT / name) for name in ("client", "server", "export", "bench"))
"""Where a source checkout has what the phases import."""

# A phase that has less is not begun: loading what it needs would take all of it.
_LEAST_SECONDS = 15.0
_LONGEST_REASON = 600

_NEED_BUNDLE = (phases.REFERENCE, phases.BUILD, phases.ENGINE, phases.PEER)


@dataclass(frozen=True)
class Outcome:
    """How a phase ended: `finished`, or `skipped`, `stopped` or `failed` with a reason."""

    ended: str
    seconds: float
    reason: str = ""


_FINISHED = Outcome("finished", 0.0)
_OUTCOMES = "outcomes"


class Runner:
    """Runs phases, each in a process of its own: a crash or a hang of one is not that of the others."""

    def __init__(self, plan: Plan, results: Results, minutes: float, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._results = results
        self._end = time.monotonic() + 60 * minutes
        self._say = say
        self._done: list[Phase] = []
        # What earlier runs measured of the same model is told beside what this one does.
        self.outcomes = {name: Outcome(**ended) for name, ended in results.read(_OUTCOMES).items()}

    def run(self, wanted: Sequence[Phase], save: Callable[[], None]) -> None:
        """Run all that can be run; `save` is called after each."""
        for name in (REQUESTS, *(phase.name for phase in wanted)):
            self._results.write(name, {})
        for phase in wanted:
            outcome = self.outcomes[phase.name] = self._run(phase)
            self._results.write(_OUTCOMES, {name: vars(ended) for name, ended in self.outcomes.items()})
            reason = f": {outcome.reason}" if outcome.reason else ""
            self._done.append(phase)
            self._say(f"{phase.title}: {outcome.ended} after {outcome.seconds:.0f} s{reason}")
            save()

    def _run(self, phase: Phase) -> Outcome:
        left = self._end - time.monotonic()
        if reason := self._reason_to_skip(phase, left):
            return Outcome("skipped", 0.0, reason)
        log = self._results.log(phase.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(phase),
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )
            try:
                status = process.wait(min(phase.seconds, left))
            except subprocess.TimeoutExpired:
                status = None
            finally:
                # Its children too, such as the processes that torch compiles in.
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        seconds = time.monotonic() - start
        if status == 0:
            return Outcome(_FINISHED.ended, seconds)
        if status is None:
            return Outcome("stopped", seconds, "its time was over")
        reason = self._results.read(phase.name).get("error") or _last_line(log, status)
        return Outcome("failed", seconds, " ".join(reason.split())[:_LONGEST_REASON])

    def _reason_to_skip(self, phase: Phase, left: float) -> str:
        if lacking := missing(phase.needs):
            return f"not installed: {', '.join(lacking)}"
        if left < _LEAST_SECONDS:
            return "no time was left"
        if phase.kind in _NEED_BUNDLE and not self._results.read(REQUESTS):
            return "there is no bundle"
        if phase.kind == phases.ENGINE:
            provider = phase.arguments[0]
            build = Phase(phases.BUILD, (provider,))
            if self.outcomes.get(build.name, _FINISHED).ended != _FINISHED.ended:
                return f"{build.title} did not finish"
            before = [other for other in self._done if other.kind == phases.ENGINE]
            before = [other for other in before if other.arguments[0] == provider]
            if before and not any(self._results.read(other.name).get("cases") for other in before):
                return f"{before[0].title} measured nothing"
        return ""

    def _command(self, phase: Phase) -> list[str]:
        size = "dry-run" if self._plan is DRY_RUN else "full"
        build = str(self._results.folder.parent)
        return [sys.executable, "-m", "gpu_run.worker", build, size, phase.kind, *phase.arguments]

    def _environment(self) -> dict[str, str]:
        paths = [*SOURCES, *filter(None, [os.environ.get("PYTHONPATH")])]
        added = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        if self._plan is DRY_RUN:
            # Threads that wait for one another are all that a tiny model would show.
            added["OMP_NUM_THREADS"] = "1"
        return {**os.environ, **added}

    def found(self) -> dict[str, Any]:
        """Return what the phases found so far, in runs before this one too, by their names."""
        return {phase.name: self._results.read(phase.name) for phase in phases.phases(self._plan)}


def _last_line(log: Path, status: int) -> str:
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}; see {log}"
    return lines[-1] if lines else f"it ended with status {status}"
