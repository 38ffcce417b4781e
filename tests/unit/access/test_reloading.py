from pathlib import Path

import pytest

from archroute_server.access.reloading import ReloadingFiles, ReloadStatistics
from support.rpc_calls import Log


class Unusable(Exception):
    pass


class Watched:
    """Two files that belong together: both hold the same text, or they cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.one, self.other = folder / "one", folder / "other"
        self.write("first")
        self.reads = 0
        self.applied: list[str] = []
        self.files = ReloadingFiles(
            "pair", (self.one, self.other), self._load, self.applied.append, (Unusable,)
        )

    def write(self, text: str) -> None:
        self.one.write_text(text)
        self.other.write_text(text)

    def replace(self, path: Path, text: str) -> None:
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)

    def _load(self) -> str:
        self.reads += 1
        text = self.one.read_text()
        if text == "defect":
            raise RuntimeError("the secret")
        if text != self.other.read_text():
            raise Unusable("the two differ")
        return text


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    assert watched.files.begin() == "first"
    return watched


async def test_files_that_stay_are_not_read_again(watched: Watched) -> None:
    for _ in range(3):
        await watched.files.look()
    assert (watched.reads, watched.applied) == (1, [])


async def test_a_change_is_read_once_it_is_still_there_at_the_next_look(watched: Watched) -> None:
    watched.write("second")
    await watched.files.look()
    assert watched.applied == []
    for _ in range(3):
        await watched.files.look()
    assert (watched.applied, watched.reads) == (["second"], 2)
    assert watched.files.statistics == ReloadStatistics(loaded=1, failed=0, successful=True)


async def test_files_that_are_replaced_one_after_the_other_are_read_when_both_are_there(
    watched: Watched, log: Log
) -> None:
    watched.replace(watched.one, "second")
    await watched.files.look()
    watched.replace(watched.other, "second")
    await watched.files.look()
    await watched.files.look()
    assert watched.applied == ["second"]
    assert not log.worst()


async def test_a_link_that_points_elsewhere_is_a_change(watched: Watched, tmp_path: Path) -> None:
    # As Kubernetes changes a secret.
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("one", "other"):
            (tmp_path / name / file).write_text(name)
    data = tmp_path / "data"
    data.symlink_to("a")
    applied: list[str] = []
    files = ReloadingFiles(
        "pair", (data / "one", data / "other"), (data / "one").read_text, applied.append, (Unusable,)
    )
    assert files.begin() == "a"
    (tmp_path / "new").symlink_to("b")
    (tmp_path / "new").replace(data)
    for _ in range(2):
        await files.look()
    assert applied == ["b"]


async def test_what_cannot_be_used_is_logged_and_counted_once_and_the_old_stays(
    watched: Watched, log: Log
) -> None:
    watched.one.write_text("changed by mistake")
    for _ in range(5):
        await watched.files.look()
    assert watched.applied == []
    assert watched.files.statistics == ReloadStatistics(loaded=0, failed=1, successful=False)
    (line,) = log.lines("not reloaded, the old goes on")
    assert (line["level"], line["what"], line["reason"]) == ("error", "pair", "the two differ")
    watched.write("put right")
    for _ in range(2):
        await watched.files.look()
    assert watched.applied == ["put right"]
    assert log.lines("reloaded")
    assert watched.files.statistics == ReloadStatistics(loaded=1, failed=1, successful=True)


async def test_a_file_that_is_gone_and_comes_back(watched: Watched) -> None:
    watched.one.unlink()
    watched.files = ReloadingFiles(
        "pair", (watched.one, watched.other), watched._load, watched.applied.append, (OSError,)
    )
    with pytest.raises(OSError, match="No such file"):
        watched.files.begin()
    for _ in range(3):
        await watched.files.look()
    watched.write("back")
    for _ in range(2):
        await watched.files.look()
    assert watched.applied == ["back"]


async def test_a_defect_while_reading_is_logged_without_its_words(watched: Watched, log: Log) -> None:
    watched.write("defect")
    await watched.files.reload()
    assert watched.files.statistics.failed == 1
    (line,) = log.lines("not reloaded, the old goes on")
    assert line["exception"][0]["type"] == "builtins.RuntimeError"
    assert "the secret" not in log.text()


async def test_whoever_asks_for_it_has_the_files_read_at_once(watched: Watched) -> None:
    watched.write("second")
    await watched.files.reload()
    assert watched.applied == ["second"]
    # And not once more because of the change.
    for _ in range(2):
        await watched.files.look()
    assert watched.applied == ["second"]
