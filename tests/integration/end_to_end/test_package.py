"""The wheel: what is in it, and what works where only the wheel and no extra is installed."""

import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clone import INSTALLING, ROOT, copy_project
from support.server_process import ServerProcess, clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(INSTALLING)]

PACKAGES = {
    "archroute": ROOT / "client",
    "archroute_server": ROOT / "server",
    "archroute_export": ROOT / "export",
    "archroute_evaluation": ROOT / "evaluation",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    clone = copy_project(folder / "archroute", folder / "cache")
    built = clone.run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder / "dist", ".")
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").glob("archroute-*.whl")
    return path


@pytest.fixture(scope="module")
def thin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment with the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("thin") / "venv"
    venv.create(folder, with_pip=True)
    installed = run(folder / "bin/python", "-m", "pip", "install", wheel)
    assert installed.returncode == 0, installed.stderr
    return folder / "bin"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=INSTALLING,
        env=clean_environment(),
        check=False,
    )


def package_files() -> Iterator[str]:
    """Every file of the packages, data files among them, as git knows them."""
    for name, root in PACKAGES.items():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", name],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        yield from (line for line in listed.stdout.splitlines() if (root / line).is_file())


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(package_files())
    for name in (
        "archroute/py.typed",
        "archroute/v1/router_pb2.pyi",
        "archroute_server/router/prompts/arch-router/model-card.txt",
        "archroute_server/router/prompts/archroute/compact.txt",
        "archroute_server/router/prompts/archroute/compact-quoted.txt",
        "archroute_server/router/prompts/variants.yaml",
        "archroute_export/embedded/MODEL_CARD.md",
        "archroute_export/embedded/adapter/adapter_config.json",
        "archroute_export/embedded/adapter/adapter_model.safetensors",
        "archroute_export/embedded/adapter/training.json",
        "archroute_export/parity/prompts.yaml",
        "archroute_evaluation/report/templates/report.html.jinja",
    ):
        assert name in names


def test_the_thin_client_is_thin(thin: Path) -> None:
    listed = run(thin / "python", "-m", "pip", "list", "--format", "freeze").stdout.splitlines()
    installed = {line.partition("==")[0].lower().replace("_", "-") for line in listed}
    assert installed - {"pip", "setuptools"} == {
        "archroute",
        "googleapis-common-protos",
        "grpcio",
        "protobuf",
        "pyyaml",
        "typing-extensions",
    }


def test_its_help_names_every_command(thin: Path) -> None:
    shown = run(thin / "archroute", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for name in ("route", "serve", "export", "examples", "finetune", "eval", "calibrate"):
        assert f"\n  {name} " in shown.stdout


def test_it_routes(thin: Path, server: ServerProcess) -> None:
    decided = run(thin / "archroute", "route", "Hello", "--address", server.address)
    assert decided.returncode == 0, decided.stderr
    assert "code_review" in decided.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("serve",), "server"),
        (("export", "embedded", "--output", "/nonexistent/bundle"), "export"),
        (("examples", "build", "--output", "/nonexistent/examples"), "export"),
        (("finetune", "--base", "b", "--data", "d.jsonl", "--output", "/nonexistent/adapter"), "train"),
        (("eval", "examples.jsonl"), "eval"),
        (("calibrate", "examples.jsonl", "--model", "/nonexistent/bundle"), "eval"),
    ],
)
def test_it_says_what_a_command_needs(thin: Path, arguments: tuple[str, ...], extra: str) -> None:
    refused = run(thin / "archroute", *arguments)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        f"archroute {arguments[0]} needs the '{extra}' extra: pip install 'archroute[{extra}]'"
    )
    assert "Traceback" not in refused.stderr
