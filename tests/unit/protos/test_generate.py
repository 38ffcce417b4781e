"""What the generator of stubs says where a toolchain is not installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.clone import ROOT
from support.markdown import code_blocks

SCRIPT = "protos/generate/generate.sh"


def generate(language: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / SCRIPT, sys.prefix, language],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    ("language", "program", "package"),
    [
        ("node", "node", "nodejs"),
        ("go", "protoc-gen-go", "protoc-gen-go-grpc"),
        ("java", "protoc", "protobuf-compiler-grpc-java-plugin"),
        ("cpp", "protoc", "protobuf-compiler-grpc"),
    ],
)
def test_a_toolchain_that_is_not_installed(tmp_path: Path, language: str, program: str, package: str) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    finished = generate(language, str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"No stubs for {language}: there is no {program}. To get it: ")
    assert package in finished.stdout


def test_an_unknown_language() -> None:
    finished = generate("cobol", os.environ["PATH"])
    assert finished.returncode == 2
    assert "unknown language cobol" in finished.stderr


def test_the_list_of_packages_has_those_that_are_named() -> None:
    listed = (ROOT / ".ci/apt-packages.txt").read_text(encoding="utf-8").splitlines()
    named = re.findall(r'"apt-get install ([^"]+)"', (ROOT / SCRIPT).read_text(encoding="utf-8"))
    assert named
    # Node.js comes from elsewhere on many machines; the list says so.
    assert {package for each in named for package in each.split()} - {"nodejs", "npm"} <= set(listed)


def test_the_client_for_node_is_built_as_the_readme_says() -> None:
    (own,) = [block.text for block in code_blocks(ROOT / "client/node/README.md") if block.language == "sh"]
    assert own in [block.text for block in code_blocks(ROOT / "README.md")]
