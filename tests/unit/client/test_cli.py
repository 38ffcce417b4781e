import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

import pytest

import archroute
from archroute import cli
from archroute.commands import ENTRY_POINT_GROUP, Command, CommandError


@dataclass
class FakeEntryPoint:
    name: str
    load: Callable[[], Command]


class Fakes:
    """The commands that `archroute` finds, which remember being loaded and raise what they are told."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.error: BaseException | None = None

    def entry_points(self, *, group: str) -> list[FakeEntryPoint]:
        assert group == ENTRY_POINT_GROUP
        return [
            FakeEntryPoint("plain", lambda: self._load("plain", None)),
            FakeEntryPoint("extra", lambda: self._load("extra", "gpu")),
            FakeEntryPoint("broken", self._break),
        ]

    def _load(self, name: str, needs: str | None) -> Command:
        self.loaded.append(name)
        return Command(name, f"Does what {name} does.", needs, self._add_arguments, self._run)

    def _break(self) -> Command:
        raise ModuleNotFoundError("No module named 'no_such_room'", name="no_such_room")

    def _add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--status", type=int, default=0)
        parser.add_argument("words", nargs="*")

    def _run(self, arguments: argparse.Namespace) -> int:
        sys.stdout.write(" ".join(arguments.words))
        if self.error is not None:
            raise self.error
        return int(arguments.status)


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    fakes = Fakes()
    monkeypatch.setattr(cli, "entry_points", fakes.entry_points)
    return fakes


def exit_of(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


def test_the_arguments_after_the_command_are_its_own(
    fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plain", "--status", "7", "a", "--", "--version"]) == 7
    assert capsys.readouterr().out == "a --version"


def test_only_the_command_that_is_called_is_loaded(fakes: Fakes) -> None:
    cli.main(["plain"])
    assert fakes.loaded == ["plain"]


def test_help_lists_every_command_even_one_that_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(["--help"]) == 0
    output = capsys.readouterr().out
    assert "  plain   Does what plain does.\n" in output
    assert "  extra   Does what extra does.\n" in output
    assert "  broken  (cannot be loaded: No module named 'no_such_room')\n" in output


def test_the_help_of_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(["plain", "--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("usage: archroute plain [-h] [--status STATUS]")
    assert "Does what plain does." in output


def test_the_version_is_printed(fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(["--version"]) == 0
    assert capsys.readouterr().out == f"archroute {archroute.__version__}\n"
    assert fakes.loaded == []


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["route", "--help"]])
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "archroute", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, check=False, env=environment)
    assert (done.returncode, done.stderr) == (cli.EXIT_NO_READER, b"")


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "commands:" in captured.err


@pytest.mark.parametrize(
    ("name", "hint"), [("plane", "did you mean 'plain'?"), ("xyz", "choose from broken, extra, plain")]
)
def test_an_unknown_command_is_a_usage_error(
    name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of([name]) == 2
    assert f"no command {name!r}; {hint}" in capsys.readouterr().err


def test_a_command_error_is_one_line(fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    fakes.error = CommandError("the port is taken")
    assert cli.main(["plain"]) == 1
    assert capsys.readouterr().err == "archroute: the port is taken\n"


def test_a_missing_module_is_told_as_the_extra_that_brings_it(
    fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes.error = ModuleNotFoundError("No module named 'onnxruntime.capi'", name="onnxruntime.capi")
    assert cli.main(["extra"]) == 2
    assert capsys.readouterr().err == (
        "archroute extra needs the 'gpu' extra: pip install 'archroute[gpu]' "
        "(there is no module 'onnxruntime.capi')\n"
    )


@pytest.mark.parametrize(
    ("command", "module"),
    [("plain", "onnxruntime"), ("extra", "archroute_server.missing"), ("extra", None)],
)
def test_a_missing_module_that_no_extra_brings_is_a_bug(
    fakes: Fakes, command: str, module: str | None
) -> None:
    fakes.error = ModuleNotFoundError("no module", name=module)
    with pytest.raises(ModuleNotFoundError):
        cli.main([command])


def test_a_command_that_cannot_be_loaded_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["broken"]) == 1
    assert capsys.readouterr().err == (
        "archroute: the command 'broken' cannot be loaded: No module named 'no_such_room'\n"
    )


def test_an_interrupt_has_the_status_that_shells_give_it(fakes: Fakes) -> None:
    fakes.error = KeyboardInterrupt()
    assert cli.main(["plain"]) == 130


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert cli.main(["plain", "naïve"]) == 0
    narrow.seek(0)
    assert narrow.read() == "na\\xefve"


def test_the_distribution_names_its_commands() -> None:
    assert {each.name for each in entry_points(group=ENTRY_POINT_GROUP)} == {
        "route",
        "health",
        "policies",
        "serve",
        "token",
        "build-engines",
        "export",
        "examples",
        "finetune",
        "eval",
        "calibrate",
    }
