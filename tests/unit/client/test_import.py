"""What `import archroute` brings along, and what its installation does."""

import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.clone import ROOT

THIN = {"googleapis-common-protos", "grpcio", "protobuf", "pyyaml"}

# What is for those who use it, or takes long: `select`, the extras, the commands, YAML, and the metadata of
# distributions, which reads e-mail headers and zip files.
NOT_IMPORTED = (
    "archroute.cli",
    "archroute.commands",
    "archroute.openai",
    "archroute.selection",
    "archroute.testing",
    "archroute_server",
    "email",
    "httpx2",
    "importlib.metadata",
    "numpy",
    "openai",
    "pydantic",
    "redis",
    "yaml",
    "zipfile",
)


def imported(program: str) -> set[str]:
    """The modules that a program leaves behind which gRPC does not."""
    after = f"import sys, grpc; before = set(sys.modules); {program}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", after], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_import_archroute_leaves_alone() -> None:
    found = imported("import archroute")
    assert "archroute.router" in found
    for name in NOT_IMPORTED:
        assert not {each for each in found if each == name or each.startswith(f"{name}.")}


def test_what_a_selector_leaves_alone() -> None:
    found = imported("import archroute; archroute.Selector(archroute.ModelMap('default'))")
    assert "archroute.selection.selector" in found
    assert not found & {"archroute.testing", "archroute.selection.rewards_file", "openai", "redis", "yaml"}


def test_a_name_that_is_not_there_is_missed() -> None:
    program = "import archroute\ntry: archroute.Router2\nexcept AttributeError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "module 'archroute' has no attribute 'Router2'"


def test_every_name_is_listed_before_it_is_imported() -> None:
    program = "import archroute; print(set(archroute.__all__) <= set(dir(archroute)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def required(name: str) -> Iterator[str]:
    """The distributions that one needs without extras, on this machine, and what these need."""
    for line in importlib.metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)
            yield from required(requirement.name)


def test_the_thin_client_requires_four_distributions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {canonicalize_name(Requirement(each).name) for each in project["dependencies"]} == THIN


@pytest.mark.parametrize("name", sorted(THIN))
def test_and_these_bring_nothing_else(name: str) -> None:
    # grpcio's own, with its type hints for older Pythons.
    assert set(required(name)) <= THIN | {"typing-extensions"}
