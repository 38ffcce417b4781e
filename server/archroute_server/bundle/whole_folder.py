"""Writing a folder whole or not at all."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archroute_server.router.whole_file import sync


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target` to write into, and put it in the place of `target` at the end.

    When the block raises, what was written is removed and `target` stays as it was. A process that is
    killed leaves a hidden folder `.<name>.partial-*` and nothing else; the next one for the same target
    removes it. Raises `OSError`.
    """
    # What a link leads to is replaced, not the link.
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    partial, lock = _make_partial(target)
    try:
        yield partial
        partial.chmod(0o755)
        _sync(partial)
        _move(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def _make_partial(target: Path) -> tuple[Path, int]:
    """Make a folder beside `target`, in use until the descriptor is closed or the process ends."""
    while True:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        try:
            descriptor = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:
            continue
        # Some network file systems lock no folders. Nobody can tell there that one is abandoned.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Until it was locked, another process may have taken it for abandoned.
        if partial.exists():
            return partial, descriptor
        os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Remove what processes left beside `target` that were killed; what cannot be removed stays."""
    partial_name = re.compile(rf"\.{re.escape(target.name)}\.partial-[a-z0-9_]{{8}}(\.old)?")
    for path in target.parent.iterdir():
        named = partial_name.fullmatch(path.name)
        # Without a target, what it was before is all that there is of it.
        if not named or (named[1] and not target.exists()):
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


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
        sync(path)
