"""Files that are there whole or not at all, whenever the process or the machine stops."""

import os
from pathlib import Path

from archroute_server.router.whole_file import replacing, sync

PREFIX = ".writing-"
"""Begins the names of files that are not whole yet. After a crash they may be removed."""


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whatever was there. Raises `OSError`, and then nothing was changed.

        write .writing-x ── fsync it ── rename it to path ── fsync the folder
                                            │                     └─ the new name outlasts a power cut
                                            └─ before: the old file, whole; after: the new one, whole

    Without the first fsync, a file system may do the renaming before the writing, and keep a name without
    content.
    """
    with replacing(path, PREFIX) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def remove_durably(path: Path) -> None:
    """Remove the file at `path`. Raises `OSError`."""
    path.unlink()
    sync(path.parent)
