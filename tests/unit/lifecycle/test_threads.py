import asyncio
import subprocess
import sys
import threading

import pytest

from archroute_server.engine.batcher import INFERENCE_THREAD
from archroute_server.lifecycle.threads import LOADING, in_background


async def test_the_result_and_the_error_come_back() -> None:
    assert await in_background(lambda: 7) == 7

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await in_background(fail)


async def test_cancelling_does_not_wait() -> None:
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait()
        ended.set()

    task = asyncio.create_task(in_background(work))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    release.set()
    assert await asyncio.to_thread(ended.wait, 60)


@pytest.mark.parametrize("name", [LOADING, INFERENCE_THREAD])
def test_the_process_ends_with_its_status_while_native_code_runs(name: str) -> None:
    script = (
        "import threading\n"
        "from archroute_server.lifecycle.threads import leave\n"
        "import atexit; atexit.register(print, 'taken apart')\n"
        f"threading.Thread(target=threading.Event().wait, name={name!r}, daemon=True).start()\n"
        "leave(7)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (7, "")


def test_the_process_ends_as_usual_otherwise() -> None:
    script = (
        "import atexit, sys\n"
        "from archroute_server.lifecycle.threads import leave\n"
        "atexit.register(print, 'taken apart')\n"
        "sys.exit(leave(7))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (7, "taken apart\n")
