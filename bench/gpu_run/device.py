"""What device this is, and what drives it."""

import subprocess
from importlib.metadata import PackageNotFoundError, version

from gpu_run.plan import Plan
from peers import machine

_DISTRIBUTIONS = (
    "onnxruntime-gpu",
    "onnxruntime",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "tensorrt-cu13",
    "torch",
    "transformers",
    "numpy",
)


def describe(plan: Plan) -> dict[str, str]:
    """Return the machine, the GPU with its driver, and the versions of what is measured."""
    found = machine.describe()
    found["GPU"] = _gpu() if plan.device == "cuda" else "none is used"
    found["versions"] = ", ".join(f"{name} {number}" for name, number in _versions())
    return found


def _gpu() -> str:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    name, memory, driver = (part.strip() for part in answer.stdout.splitlines()[0].split(","))
    return f"{name}, {memory}, driver {driver}"


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _DISTRIBUTIONS:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
