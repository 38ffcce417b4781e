import argparse
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import archroute_server.app
from archroute_server.cli import command
from archroute_server.config import Settings


def test_the_command_is_found_by_its_entry_point() -> None:
    (entry_point,) = entry_points(group="archroute.commands", name="serve")
    assert entry_point.load() is command


def test_reading_the_command_imports_nothing_of_the_extra() -> None:
    script = (
        "import sys, argparse; from archroute_server.cli import command; "
        "command.add_arguments(argparse.ArgumentParser()); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    extra = {"cachetools", "onnxruntime", "numpy", "tokenizers", "msgspec", "platformdirs"}
    assert not extra & set(run.stdout.split())


def test_the_flags_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    monkeypatch.setattr(archroute_server.app, "serve", lambda settings: served.append(settings) or 0)
    monkeypatch.setenv("ARCHROUTE_THREADS", "2")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--log-level", "error"])) == 0
    assert served == [Settings(threads=2, log_level="error")]
