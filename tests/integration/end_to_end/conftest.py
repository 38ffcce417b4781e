"""The whole stack: a bundle exported from a tiny checkpoint, `archroute serve` in a process, a socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archroute import Router
from support.awkward_policies import POLICIES
from support.checkpoints import write_tiny_checkpoint
from support.server_process import ServerProcess, run_archroute, serving

# Enough for the prompt of 500 policies in the tiny tokenizer's short tokens.
POSITIONS = 16_384
PROMPT_TOKENS = 12_000


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that `archroute export` made; nobody changes it."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(folder / "checkpoint", config_fields={"max_position_embeddings": POSITIONS})
    exported = run_archroute("export", folder / "checkpoint", "--output", folder / "bundle")
    assert exported.returncode == 0, exported.stderr
    return folder / "bundle"


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policies file with an ordinary set and one of awkward names."""
    path = tmp_path_factory.mktemp("policies") / "policies.yaml"
    path.write_text(POLICIES, encoding="utf-8")
    return path


@pytest.fixture(scope="package")
def server(bundle: Path, policies: Path) -> Iterator[ServerProcess]:
    """A server that is ready, for all tests that leave it as it was."""
    arguments = ("--model", bundle, "--policies", policies, "--listen", "127.0.0.1:0")
    with serving(*arguments, "--max-prompt-tokens", str(PROMPT_TOKENS)) as server:
        server.wait_for("ready")
        yield server
        assert server.stop() == 0


@pytest.fixture
def router(server: ServerProcess) -> Iterator[Router]:
    """A client of it. Deadlines are far away: nothing here is about time."""
    with Router(server.address, timeout=60) as router:
        yield router
