import json
import multiprocessing
from pathlib import Path

import pytest

from archroute.selection.rewards import Rewards
from archroute.selection.rewards_file import FileRewards

PROCESSES, EACH = 4, 25


def test_rewards_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    first = FileRewards(path)
    assert first.of("code") == {}
    first.add("code", "a", 1.0)
    first.add("code", "a", 0.25)
    first.add("travel", "b", 0.0)
    second = FileRewards(path)
    assert second.of("code") == {"a": Rewards(1.25, 0.75)}
    assert second.of("travel") == {"b": Rewards(0.0, 1.0)}


def test_what_another_one_writes_is_seen(tmp_path: Path) -> None:
    one, other = FileRewards(tmp_path / "r.json"), FileRewards(tmp_path / "r.json")
    for count in range(1, 20):
        one.add("code", "a", 1.0)
        other.add("code", "a", 1.0)
        assert one.of("code") == other.of("code") == {"a": Rewards(2.0 * count, 0.0)}


def add(path: Path, model: str) -> None:
    rewards = FileRewards(path)
    for _ in range(EACH):
        rewards.add("code", model, 1.0)
        rewards.add("code", "shared", 0.5)


@pytest.mark.timeout(300)
def test_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add, args=(path, f"m{number}")) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = FileRewards(path).of("code")
    assert found.pop("shared") == Rewards(PROCESSES * EACH * 0.5, PROCESSES * EACH * 0.5)
    assert found == {f"m{number}": Rewards(EACH, 0.0) for number in range(PROCESSES)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 2, "rewards": {}}',
        '{"version": 1, "rewards": []}',
        '{"version": 1, "rewards": {"code": {"a": {"gained": -1, "missed": 0}}}}',
        '{"version": 1, "rewards": {"code": {"a": {"gained": 1, "missed": NaN}}}}',
        '{"version": 1, "rewards": {"code": {"a": 1}}}',
    ],
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rewards.json"
    path.write_text(text, encoding="utf-8")
    rewards = FileRewards(path)
    with pytest.raises(ValueError, match=r"rewards\.json is no file of rewards"):
        rewards.of("code")
    with pytest.raises(ValueError, match=r"rewards\.json is no file of rewards"):
        rewards.add("code", "a", 1.0)
    assert path.read_text(encoding="utf-8") == text


def test_a_reward_that_could_not_be_written_is_not_remembered_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewards = FileRewards(tmp_path / "rewards.json")
    rewards.add("code", "a", 1.0)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("archroute.selection.rewards_file.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            rewards.add("code", "a", 1.0)
    assert rewards.of("code") == FileRewards(tmp_path / "rewards.json").of("code") == {"a": Rewards(1.0, 0.0)}


def test_the_file_is_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    FileRewards(path).add("code_generation", "large-coder", 0.75)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "version": 1,
        "rewards": {"code_generation": {"large-coder": {"gained": 0.75, "missed": 0.25}}},
    }
