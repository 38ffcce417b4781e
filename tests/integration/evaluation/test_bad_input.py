"""What is wrong is said in one line, with status 1, before any work is done."""

from pathlib import Path
from typing import Any

import pytest

from support.server_process import run_archroute


def refused(*arguments: str | Path) -> str:
    finished = run_archroute(*arguments)
    assert finished.returncode == 1, (finished.stdout, finished.stderr)
    assert finished.stderr.startswith("archroute: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr


COMMANDS = ("eval", "calibrate")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_file(command: str, bundle: Path, write_lines: Any) -> None:
    path = write_lines([])
    assert f"{path}: holds no examples" in refused(command, path, "--model", bundle)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_not_there(command: str, bundle: Path, tmp_path: Path) -> None:
    said = refused(command, tmp_path / "none.jsonl", "--model", bundle)
    assert "none.jsonl: cannot be read: No such file or directory" in said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ('{"policies": [', "examples.jsonl:3: is not JSON"),
        ({"policy": "travel"}, "examples.jsonl:3: the expected policy 'travel' is not among its"),
        ({"policies": []}, "examples.jsonl:3: policies: is empty"),
    ],
)
def test_a_wrong_line_is_named(
    command: str, wrong: dict[str, Any] | str, reason: str, bundle: Path, lines: list[Any], write_lines: Any
) -> None:
    lines[2] = wrong if isinstance(wrong, str) else lines[2] | wrong
    assert reason in refused(command, write_lines(lines), "--model", bundle)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_no_bundle(command: str, examples: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        said = refused(command, examples, "--model", folder)
        assert f"{folder} is not a bundle: it holds no manifest.json" in said


def test_a_server_that_is_not_there(examples: Path) -> None:
    said = refused("eval", examples, "--server", "127.0.0.1:1")
    assert "no archroute server answers at 127.0.0.1:1" in said


def test_an_address_that_is_none(examples: Path) -> None:
    assert "is a web address" in refused("eval", examples, "--server", "http://127.0.0.1:1")


def test_a_report_that_cannot_be_written_costs_no_evaluation(examples: Path, tmp_path: Path) -> None:
    said = refused("eval", examples, "--server", "127.0.0.1:1", "--json", tmp_path / "no" / "out.json")
    assert "there is no folder" in said


def test_examples_of_which_none_can_be_decided(bundle: Path, examples: Path) -> None:
    tight = (examples, "--model", bundle, "--max-prompt-tokens", "20")
    assert "none of the 24 requests was answered; the first: policies: " in refused("eval", *tight)
    assert "none of the 24 examples can be decided; the first: policies: " in refused("calibrate", *tight)
