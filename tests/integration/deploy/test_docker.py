"""The recipe of the image: what hadolint says, and what can be said without building it."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from archroute.commands.health import command as health
from support.clone import INSTALLING, ROOT
from support.deployment import DOCKERFILE, SETTINGS, image_settings, run_tool

TEXT = DOCKERFILE.read_text(encoding="utf-8")
# Anything of this size that is not deleted in the image's build would have to be looked at.
LARGE_BYTES = 1_000_000


def copied() -> set[str]:
    """What is copied from the repository."""
    found = re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE)
    return {source for sources in found for source in sources.split()}


def test_hadolint_has_nothing_to_say_against_it() -> None:
    assert run_tool("hadolint", "--failure-threshold", "style", DOCKERFILE) == ""


def test_everything_that_the_package_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {package.split("/")[0] for package in packages} | {
        "pyproject.toml",
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    assert needed <= copied()
    assert all((ROOT / source).exists() for source in copied())


def test_nothing_else_is_sent_to_the_build() -> None:
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied()


def test_weights_are_left_out() -> None:
    assert "find . -name '*.safetensors' -delete" in TEXT
    listed = subprocess.run(
        ["git", "ls-files", "-z", *copied()], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    large = [path for path in listed.split("\0") if path and (ROOT / path).stat().st_size > LARGE_BYTES]
    assert large
    assert all(path.endswith(".safetensors") for path in large)


@pytest.mark.slow
@pytest.mark.timeout(INSTALLING)
def test_what_is_copied_makes_a_package_without_weights(tmp_path: Path) -> None:
    """What the first stage does, less what it depends on."""
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.safetensors"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", wheels, source],
        capture_output=True,
        text=True,
        timeout=INSTALLING,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.glob("archroute-*.whl")
    assert wheel.stat().st_size < LARGE_BYTES
    with zipfile.ZipFile(wheel) as archive:
        assert "archroute_server/app.py" in archive.namelist()


def test_every_variable_is_a_setting() -> None:
    assert image_settings()
    assert image_settings().keys() <= SETTINGS


def test_it_is_not_root() -> None:
    (user,) = re.findall(r"^USER (\S+)$", TEXT, re.MULTILINE)
    assert all(int(part) > 0 for part in user.split(":"))


def test_each_base_is_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)


def test_the_health_check_asks_the_server_that_is_started() -> None:
    (written,) = re.findall(r"^HEALTHCHECK .*\n +CMD (.*)$", TEXT, re.MULTILINE)
    name, subcommand, *arguments = json.loads(written)
    assert (name, subcommand) == ("archroute", health.name)
    parser = argparse.ArgumentParser()
    health.add_arguments(parser)
    port = parser.parse_args(arguments).address.rpartition(":")[2]
    assert image_settings()["ARCHROUTE_LISTEN"].endswith(f":{port}")
    assert re.search(rf"^EXPOSE .*\b{port}\b", TEXT, re.MULTILINE)
