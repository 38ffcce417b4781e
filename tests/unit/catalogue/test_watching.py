"""Watching real files: every way in which an edit arrives is noticed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from archroute_server.catalogue import watching
from archroute_server.catalogue.watching import watch
from archroute_server.lifecycle.background import background

NEVER = 24 * 3600.0

TEXT = "policy_sets: []\n"


class Looks:
    """Counts looks, and lets a test wait for one."""

    def __init__(self) -> None:
        self.looked = asyncio.Event()

    async def look(self) -> None:
        self.looked.set()


async def until_noticed(looks: Looks, edit: Callable[[int], object]) -> None:
    """Edit again and again, since nothing tells when the watch has begun."""
    noticed = asyncio.ensure_future(looks.looked.wait())
    number = 0
    while not noticed.done():
        number += 1
        edit(number)
        await asyncio.wait({noticed}, timeout=0.5)


def write_in_place(path: Path) -> Callable[[int], object]:
    return lambda number: path.write_text(TEXT * number)


def write_another_and_rename(path: Path) -> Callable[[int], object]:
    def edit(number: int) -> None:
        other = path.with_name("other")
        other.write_text(TEXT * number)
        other.rename(path)

    return edit


def replace_the_link(path: Path) -> Callable[[int], object]:
    """As Kubernetes updates a ConfigMap: the file is a link through a link, and that one is replaced."""
    folder = path.parent
    path.unlink()
    path.symlink_to(Path("..data") / path.name)

    def edit(number: int) -> None:
        version = folder / f"..version-{number}"
        version.mkdir()
        (version / path.name).write_text(TEXT * number)
        link = folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(folder / "..data")

    edit(0)
    return edit


def write_the_target(path: Path) -> Callable[[int], object]:
    target = path.parent / "elsewhere" / "target.yaml"
    target.parent.mkdir()
    path.unlink()
    target.write_text(TEXT)
    path.symlink_to(target)
    return lambda number: target.write_text(TEXT * number)


@pytest.mark.parametrize(
    "way", [write_in_place, write_another_and_rename, replace_the_link, write_the_target]
)
async def test_an_edit_of_a_file_is_noticed(
    tmp_path: Path, way: Callable[[Path], Callable[[int], object]]
) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(TEXT)
    edit, looks = way(path), Looks()
    async with asyncio.timeout(90), background(watch(path, looks.look, NEVER)):
        await until_noticed(looks, edit)


async def test_a_new_file_of_a_folder_is_noticed(tmp_path: Path) -> None:
    looks = Looks()
    async with asyncio.timeout(90), background(watch(tmp_path, looks.look)):
        await until_noticed(looks, lambda number: (tmp_path / f"{number}.yaml").write_text(TEXT))


async def test_what_the_file_system_does_not_tell_is_found_all_the_same(tmp_path: Path) -> None:
    looks = Looks()
    async with asyncio.timeout(90), background(watch(tmp_path, looks.look, 0.02)):
        for _ in range(3):
            await looks.looked.wait()
            looks.looked.clear()


async def test_files_that_cannot_be_watched_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(*paths: Path, **options: Any) -> AsyncIterator[None]:
        raise OSError("OS file watch limit reached.")
        yield

    monkeypatch.setattr(watching, "awatch", refuse)
    looks = Looks()
    async with asyncio.timeout(90), background(watch(tmp_path, looks.look, 0.01)):
        for _ in range(3):
            await looks.looked.wait()
            looks.looked.clear()
    (warning,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "looked at from time to time" in warning.message


async def test_without_files_nothing_is_watched() -> None:
    looks = Looks()
    await watch(None, looks.look)
    assert not looks.looked.is_set()
