"""A tiny model, and servers that can be watched while it decides."""

from pathlib import Path

import pytest

from support.awkward_policies import POLICIES
from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny random model; nobody changes it."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(folder / "checkpoint")
    return export_bundle(folder / "checkpoint", folder / "bundle").folder


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policies file with an ordinary set and one of awkward names."""
    path = tmp_path_factory.mktemp("policies") / "policies.yaml"
    path.write_text(POLICIES, encoding="utf-8")
    return path
