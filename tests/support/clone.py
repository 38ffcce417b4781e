"""A copy of the project as a newcomer has it, where nothing was installed or built yet."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from archroute_export.checkpoint.embedded import MODEL, WHEEL_VARIABLE
from support.server_process import clean_environment

ROOT = Path(__file__).parents[2]

# Making an environment, fetching a model and exporting it, on a slow day.
INSTALLING = 1200.0


@dataclass(frozen=True)
class Clone:
    """A copy of the project where nothing was installed or built, and the variables to use there."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=INSTALLING,
            check=False,
        )


def copy_project(folder: Path, cache: Path) -> Clone:
    """Copy into `folder` what `git clone` would give, with the changes that are not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # or else it was deleted, and that is not committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return Clone(folder, _environment(cache))


def _environment(cache: Path) -> dict[str, str]:
    """A user whose caches are empty, except that nothing is fetched again which is here already."""
    additions = {"XDG_CACHE_HOME": str(cache), "PYTHONUTF8": "1"}
    pip_cache = subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False
    )
    if pip_cache.returncode == 0:
        additions["PIP_CACHE_DIR"] = pip_cache.stdout.strip()
    fetched = user_cache_path("archroute") / "embedded" / MODEL.file
    named = os.environ.get(WHEEL_VARIABLE) or (str(fetched) if fetched.is_file() else "")
    if named:
        additions[WHEEL_VARIABLE] = named
    environment = clean_environment(additions)
    # Those of the environment that runs the tests are not a newcomer's.
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "COVERAGE_PROCESS_START"):
        environment.pop(name, None)
    return environment


def only_child(parent: int) -> int:
    """Return the only child of a process, as Linux tells it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # The name, in parentheses, may hold anything; the parent is the second field after it.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    (child,) = found
    return child
