"""`archroute`, but its model can be made slow, and on SIGUSR1 it tells what it holds.

A script of its own, for a process of its own: `support.holdings` runs it and asks.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from archroute.cli import main
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from archroute_server.runtime.session import Session

SECONDS_PER_PASS = "SECONDS_PER_PASS"
EVENT = "holdings"


def slow_down(seconds: float) -> None:
    """Let each forward pass take so much longer, without work for the processor."""
    run = Session.run

    def run_slowly(self: Session, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        time.sleep(seconds)
        return run(self, forward, past)

    Session.run = run_slowly  # type: ignore[method-assign]


def tell(_number: int, _frame: FrameType | None) -> None:
    """Write a line to the log; without the logging module, whose locks the signal may have interrupted."""
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:  # the event loop does not run
        tasks = 0
    held = {
        "event": EVENT,
        "tasks": tasks,
        # Those of asyncio's own pool are made when they are first needed, kept, and bounded in number.
        "threads": sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "resident_bytes": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }
    os.write(sys.stderr.fileno(), json.dumps(held).encode() + b"\n")


if __name__ == "__main__":
    if seconds := float(os.environ.get(SECONDS_PER_PASS, "0")):
        slow_down(seconds)
    signal.signal(signal.SIGUSR1, tell)
    sys.exit(main())
