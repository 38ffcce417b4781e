import asyncio
import os
import sys
from pathlib import Path

import pytest

from archroute_server.embedded import EmbeddedModelError, embedded_bundle


def exporter(script: str) -> tuple[str, ...]:
    """Return a command that stands in for the exporter; it finds the folder in `sys.argv[1]`."""
    return (
        sys.executable,
        "-c",
        f"import pathlib, sys, signal; folder = pathlib.Path(sys.argv[1]); {script}",
    )


EXPORT = exporter("folder.mkdir(parents=True); (folder / 'manifest.json').write_text('{}')")
FAIL = exporter("sys.exit(2)")


async def test_a_bundle_is_built_once(tmp_path: Path) -> None:
    folder = await embedded_bundle(tmp_path, EXPORT)
    assert (folder / "manifest.json").is_file()
    assert folder.is_relative_to(tmp_path)
    assert await embedded_bundle(tmp_path, FAIL) == folder


async def test_a_failed_export_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedModelError, match=r"status 2 .*archroute\[export\].* --model DIR"):
        await embedded_bundle(tmp_path, FAIL)


async def test_a_bundle_that_another_server_finished_first_is_taken(tmp_path: Path) -> None:
    both = exporter("folder.mkdir(parents=True); (folder / 'manifest.json').write_text('{}'); sys.exit(1)")
    assert (await embedded_bundle(tmp_path, both) / "manifest.json").is_file()


async def test_stopping_ends_the_exporter(tmp_path: Path) -> None:
    running, ended = tmp_path / "running", tmp_path / "ended"
    os.mkfifo(running)  # reading it waits until the exporter writes
    wait_to_be_terminated = exporter(
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(ended)!r}).touch(), sys.exit(1)));"
        f"pathlib.Path({str(running)!r}).write_text('now'); signal.pause()"
    )
    building = asyncio.create_task(embedded_bundle(tmp_path, wait_to_be_terminated))
    assert await asyncio.to_thread(running.read_text) == "now"
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert ended.exists()
