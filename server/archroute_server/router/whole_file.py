"""Writing a file whole or not at all."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or the names of the files in a folder. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, prefix: str) -> Iterator[BinaryIO]:
    """Give a file to write, and rename it to `path` when the block ends well.

    It lies beside `path`, with a name that begins with `prefix`, so that nobody ever reads a part; if the
    block raises, it is removed and `path` is as it was. Only its owner may read it, unless the block says
    otherwise. Raises `OSError`.
    """
    descriptor, partial = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(partial).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(partial).unlink()
        raise


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write a text file that all may read, of lines given without their ends; return how many there are.

    The folder is made if need be. See `replacing`. Raises `OSError`.
    """
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, f".{path.name}.") as file:
        os.fchmod(file.fileno(), 0o644)
        for line in lines:
            file.write(f"{line}\n".encode())
            count += 1
    return count
