from pathlib import Path

import pytest

from archroute_evaluation.errors import EvaluationError
from archroute_evaluation.whole_file import check_target, write_whole


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_bytes(b"old")
    target.chmod(0o640)
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    target, other = tmp_path / "report.json", tmp_path / "other"
    other.touch()
    write_whole(target, b"new")
    assert target.stat().st_mode == other.stat().st_mode


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_when_it_cannot_be_moved_there_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.json"
    target.write_bytes(b"old")

    def fail(self: Path, other: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(EvaluationError, match=r"report\.json cannot be written: No space left"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "is a folder; name a file"), ("nowhere/report.json", "there is no folder .*nowhere")],
)
def test_a_target_that_cannot_be_is_told_before(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        check_target(tmp_path / name)
    check_target(tmp_path / "report.json")
