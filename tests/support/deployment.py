"""The files under `deploy` that run a server, and the tools that check them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from archroute_server.config import FLAGS, VARIABLE_PREFIX

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "archroute.service"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
BASE = DEPLOY / "kubernetes" / "base"
ADAPTER = DEPLOY / "kubernetes" / "prometheus" / "adapter.yaml"
SCRAPE = DEPLOY / "kubernetes" / "prometheus" / "scrape.yaml"

SETTINGS = {flag.variable for flag in FLAGS}


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    """Skip a test where there is no `tool`, which a package of Debian's has; `.ci/run` installs it."""
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}: apt-get install {package}")


def run_tool(*command: str | Path) -> str:
    """Run a tool that must accept what it is given, and return what it printed."""
    # Those that are Python packages are beside the interpreter, which need not be on the path.
    found = Path(sys.executable).with_name(str(command[0]))
    first = found if found.exists() else command[0]
    done = subprocess.run([first, *command[1:]], capture_output=True, text=True, timeout=120, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def manifest(name: str) -> Any:
    """One of the base's files."""
    return yaml.safe_load((BASE / name).read_text(encoding="utf-8"))


def container() -> Any:
    """The container of the Deployment."""
    (found,) = manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"]
    return found


def container_settings() -> dict[str, str]:
    """The settings that the Deployment gives its container."""
    return {each["name"]: each["value"] for each in container()["env"]}


def image_settings() -> dict[str, str]:
    """The settings that the image has by itself."""
    return dict(re.findall(rf"({VARIABLE_PREFIX}\w+)=(\S+)", DOCKERFILE.read_text(encoding="utf-8")))
