"""Work on threads that the end of the process does not wait for."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from archroute_server.engine.batcher import INFERENCE_THREAD

T = TypeVar("T")

LOADING = "loading"
# They run native code: that of ONNX Runtime, for as long as it pleases.
_NATIVE = frozenset({LOADING, INFERENCE_THREAD})


async def in_background(work: Callable[[], T], name: str = LOADING) -> T:
    """Run `work` on a thread of its own; cancelling leaves it to itself, and drops what it returns.

    A thread of `asyncio.to_thread` would be waited for when the process ends.
    """
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(future)


def leave(status: int) -> int:
    """Return the exit status; or end the process with it, if native code is still running.

    Python would take the interpreter apart under it.
    """
    if any(thread.name in _NATIVE for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(status)
    return status
