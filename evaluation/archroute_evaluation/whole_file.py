"""Writing a file whole or not at all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from archroute_evaluation.errors import EvaluationError


def check_target(path: Path) -> None:
    """Raise `EvaluationError` unless a file can be put at `path`: before hours of work, and not after."""
    if path.is_dir():
        raise EvaluationError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise EvaluationError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise EvaluationError(f"{path} cannot be written: the folder {path.parent} is not writable")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside `path` and move it there, so that nobody ever reads a part.

    A file that is there keeps its permissions; a new one has those of the process. Raises `EvaluationError`.
    """
    try:
        # What a link leads to is replaced, not the link.
        path = path.resolve()
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.partial-", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.chmod(_permissions(path))
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror}") from error


def _permissions(path: Path) -> int:
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask
