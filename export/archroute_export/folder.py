"""Writing a folder whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archroute_export.errors import ExportError


@contextmanager
def whole_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """Give an empty folder beside `target` to write into, and move it there at the end.

    When the block raises, what was written is removed and `target` stays as it was. Raises `ExportError`
    if there is something at `target` and `replace` is false, and for a disk that is full or not writable.
    """
    if not replace:
        refuse_existing(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise ExportError(f"cannot write in {target.parent}: {error.strerror}") from error
    try:
        yield partial
        partial.chmod(0o755)
        _sync(partial)
        _move(partial, target, replace=replace)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExportError(
                f"the disk of {target.parent} is full; nothing was kept. Free some space or name another "
                "--output"
            ) from error
        raise ExportError(f"cannot write {error.filename or target}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(target: Path) -> None:
    """Raise `ExportError` if there is something at `target` already, other than an empty folder."""
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise ExportError(f"{target} exists already; name another --output, or replace it with --force")


def _move(partial: Path, target: Path, *, replace: bool) -> None:
    old = partial.with_name(partial.name + ".old")
    if replace and target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the disk hold every file before the folder gets its name, so that a crash leaves none in part."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
