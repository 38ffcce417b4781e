"""Writing a bundle's folder whole or not at all, and nothing else away."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archroute_export.errors import ExportError
from archroute_server.bundle import whole_folder as folders
from archroute_server.bundle.manifest import MANIFEST_FILE


@contextmanager
def whole_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """Give an empty folder beside `target` to write into, and move it there at the end.

    See `archroute_server.bundle.whole_folder`. Raises `ExportError` as `check_target` does, and for a disk
    that is full or not writable.
    """
    check_target(target, replace=replace)
    given = False
    try:
        with folders.whole_folder(target) as partial:
            given = True
            yield partial
    except OSError as error:
        parent = target.resolve().parent
        if not given:
            raise ExportError(f"cannot write in {parent}: {error.strerror}") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExportError(
                f"the disk of {parent} is full; nothing was kept. Free some space or name another --output"
            ) from error
        raise ExportError(f"cannot write {error.filename or target}: {error.strerror or error}") from error


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
