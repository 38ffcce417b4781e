import asyncio
import os
import sys
from pathlib import Path

import pytest

from archroute_export.checkpoint import embedded
from archroute_server.embedded import ADAPTER, EmbeddedModelError, embedded_bundle


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


async def test_another_adapter_makes_another_bundle(tmp_path: Path) -> None:
    adapter, cache = tmp_path / "adapter", tmp_path / "cache"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"first")
    first = await embedded_bundle(cache, EXPORT, adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"second")
    second = await embedded_bundle(cache, EXPORT, adapter)
    (adapter / "training.json").write_text("{}")
    third = await embedded_bundle(cache, EXPORT, adapter)
    assert len({first, second, third}) == 3
    assert (first / "manifest.json").is_file()
    assert await embedded_bundle(cache, FAIL, adapter) == third


async def test_a_bundle_of_before_there_was_an_adapter_is_not_used(tmp_path: Path) -> None:
    old = tmp_path / "bundles" / "embedded-1"
    old.mkdir(parents=True)
    (old / "manifest.json").write_text("{}")
    assert await embedded_bundle(tmp_path, EXPORT) != old


async def test_an_installation_without_the_adapter_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        EmbeddedModelError, match=r"nowhere: No such file or directory; install archroute again"
    ):
        await embedded_bundle(tmp_path, FAIL, tmp_path / "nowhere")


def test_the_adapter_is_the_one_that_the_exporter_merges() -> None:
    assert ADAPTER == embedded.ADAPTER


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
