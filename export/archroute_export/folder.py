"""Writing a folder whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archroute_export.errors import ExportError
from archroute_server.bundle.manifest import MANIFEST_FILE


@contextmanager
def whole_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """Give an empty folder beside `target` to write into, and move it there at the end.

    When the block raises, what was written is removed and `target` stays as it was. A process that is
    killed leaves a hidden folder `.<name>.partial-*` and nothing else.

    Raises `ExportError` as `check_target` does, and for a disk that is full or not writable.
    """
    check_target(target, replace=replace)
    # What a link leads to is replaced, not the link.
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise ExportError(f"cannot write in {target.parent}: {error.strerror}") from error
    try:
        yield partial
        partial.chmod(0o755)
        _sync(partial)
        _move(partial, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExportError(
                f"the disk of {target.parent} is full; nothing was kept. Free some space or name another "
                "--output"
            ) from error
        raise ExportError(f"cannot write {error.filename or target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_target(target: Path, *, replace: bool) -> None:
    """Raise `ExportError` unless a folder may be put at `target`.

    There may be nothing, an empty folder or, if `replace` is true, a bundle. Anything else is never
    replaced: a mistyped --output must not cost a folder of something else.
    """
    try:
        if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
            return
        bundle = (target / MANIFEST_FILE).is_file()
    except OSError as error:
        raise ExportError(f"cannot look at {target}: {error.strerror}") from error
    if not bundle:
        raise ExportError(f"{target} exists already and is not a bundle; name another --output")
    if not replace:
        raise ExportError(f"{target} exists already; name another --output, or replace it with --force")


def _move(partial: Path, target: Path) -> None:
    """Put the folder in place; a folder that is there already is put back if that fails."""
    if not target.exists():
        partial.rename(target)
        return
    old = partial.with_name(partial.name + ".old")
    target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the disk hold every file before the folder gets its name, so that a crash leaves none in part."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
