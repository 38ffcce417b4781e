import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from archroute_export.errors import ExportError
from archroute_export.folder import check_target, whole_folder


def write(target: Path, text: str = "new", replace: bool = False) -> None:
    with whole_folder(target, replace=replace) as folder:
        (folder / "manifest.json").write_text(text)


def test_the_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bundle"
    with whole_folder(target, replace=False) as folder:
        (folder / "manifest.json").write_text("new")
        assert not target.exists()
        assert folder.parent == target.parent
        assert folder.name.startswith(".bundle.partial-")
    assert (target / "manifest.json").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    write(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "new"


def test_a_bundle_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    write(target, "old")
    (target / "more").touch()
    with pytest.raises(ExportError, match="replace it with --force"):
        write(target)
    assert (target / "manifest.json").read_text() == "old"
    write(target, replace=True)
    assert [path.name for path in target.iterdir()] == ["manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("replace", [False, True])
def test_what_is_no_bundle_is_never_replaced(tmp_path: Path, replace: bool) -> None:
    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    file.write_text("a file")
    link.symlink_to(tmp_path / "nowhere")
    for target in (folder, file, link):
        with pytest.raises(ExportError, match="exists already and is not a bundle"):
            check_target(target, replace=replace)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_link_to_a_bundle_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "bundle-1", "old")
    (tmp_path / "current").symlink_to("bundle-1")
    write(tmp_path / "current", replace=True)
    assert (tmp_path / "current").is_symlink()
    assert (tmp_path / "bundle-1" / "manifest.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle-1", "current"]


def test_an_old_bundle_comes_back_when_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    write(target, "old")
    rename = Path.rename

    def fail_for_new(path: Path, to: Path) -> Path:
        if to == target and path.name.endswith(".old") is False:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(to))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(ExportError, match=r"cannot write .*bundle: Input/output error"):
        write(target, replace=True)
    assert (target / "manifest.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failure_inside_leaves_nothing_and_passes_on(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "bundle", replace=False) as folder:
            (folder / "half").touch()
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert list(tmp_path.iterdir()) == []


# What processes left that were killed.


def abandon(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "manifest.json").write_text("half")
    return folder


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    abandon(tmp_path, ".bundle.partial-abc_1234")
    write(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "bundle", replace=False) as folder:
        (folder / "manifest.json").write_text("first")
        write(tmp_path / "bundle", "second")
        assert (folder / "manifest.json").read_text() == "first"
        shutil.rmtree(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "name",
    [
        ".other.partial-abc_1234",
        ".bundle.partial-mine",
        ".bundle.partial-abc_1234.partial-abc_1234",
        "bundle.partial-abc_1234",
        ".bundle-2.partial-abc_1234",
    ],
)
def test_what_has_another_name_is_left_alone(tmp_path: Path, name: str) -> None:
    abandon(tmp_path, name)
    write(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["bundle", name])


def test_links_and_files_are_left_alone(tmp_path: Path) -> None:
    elsewhere = abandon(tmp_path, "elsewhere")
    (tmp_path / ".bundle.partial-abc_1234").symlink_to(elsewhere)
    (tmp_path / ".bundle.partial-abc_5678").touch()
    write(tmp_path / "bundle")
    assert (elsewhere / "manifest.json").exists()
    assert (tmp_path / ".bundle.partial-abc_5678").exists()


def test_the_old_bundle_of_a_killed_replacement_goes_once_there_is_a_new_one(tmp_path: Path) -> None:
    old = abandon(tmp_path, ".bundle.partial-abc_1234.old")
    write(tmp_path / "bundle")
    assert old.exists()
    write(tmp_path / "bundle", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, []

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            shutil.rmtree(removed[0])
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    write(tmp_path / "bundle")
    assert len(removed) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_where_folders_cannot_be_locked_nothing_is_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)
    abandon(tmp_path, ".bundle.partial-abc_1234")
    write(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".bundle.partial-abc_1234", "bundle"]
