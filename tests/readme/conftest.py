"""A copy of the project as a newcomer has it, and the server that `make serve` starts there."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkpoints import write_tiny_checkpoint
from support.clone import INSTALLING, Clone, copy_project, only_child
from support.server_process import ServerProcess, serving


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The copy, and a user whose caches are empty."""
    folder = tmp_path_factory.mktemp("clone")
    return copy_project(folder / "archroute", folder / "cache")


@pytest.fixture(scope="session")
def served(clone: Clone) -> Iterator[ServerProcess]:
    """The server of `make serve`, ready, on a port that was free."""
    variables = {**clone.environment, "ARCHROUTE_LISTEN": "127.0.0.1:0"}
    with serving(command=["make", "serve"], cwd=clone.folder, environment=variables) as make:
        make.wait_for("ready", timeout=INSTALLING)
        yield make
        # As a service manager does it; make ends as its command does.
        os.kill(only_child(make.process.pid), signal.SIGTERM)
        assert make.process.wait(INSTALLING) == 0
    assert make.events("stopped")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands in for a checkpoint of gigabytes."""
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    write_tiny_checkpoint(folder)
    return folder
