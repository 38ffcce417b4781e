"""Missing packages are named all at once."""

import subprocess
import sys
from pathlib import Path

import gpu
from gpu_run.packages import REQUIRED, Package, missing

# Finds no module of these names, as if it were not installed.
WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {hidden!r} else found(name, *rest)
sys.meta_path.insert(0, Hidden())
sys.argv = ["gpu.py", "--dry-run"]
import runpy
runpy.run_path({script!r}, run_name="__main__")
"""


def test_all_that_are_missing_are_named() -> None:
    packages = [Package("json", "json"), Package("no_such_one", "one"), Package("no_such_two", "two")]
    assert missing(packages) == ["one", "two"]


def test_the_script_names_them_before_it_imports_any() -> None:
    """Even numpy, which most modules of the project import."""
    hidden = ("numpy", "msgspec", "matplotlib")
    script = str(Path(gpu.__file__))
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden, script=script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert finished.stderr.strip() == (
        "bench/gpu.py needs packages that are not installed: pip install matplotlib msgspec numpy"
    )


def test_what_the_phases_import_is_looked_for() -> None:
    """And nothing else is, torch and transformers least of all: the phases that need them say so."""
    phases = "gpu_run.bundle, gpu_run.engines, gpu_run.attention, gpu_run.ceilings, gpu_run.plots"
    code = f"import sys; before = set(sys.modules); import {phases}; print(*set(sys.modules) - before)"
    paths = [str(Path(gpu.__file__).parents[1] / name) for name in ("client", "server", "export", "bench")]
    finished = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {name.partition(".")[0] for name in finished.stdout.split()}
    for package in REQUIRED:
        assert package.module in imported, f"{package.module} is asked for, and nothing imports it"
    assert "torch" not in imported
    assert "transformers" not in imported
