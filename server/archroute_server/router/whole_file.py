"""Writing a text file whole or not at all."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write a file of lines, given without their ends, and return how many there are.

    The folder is made if need be. The lines go to a file beside `path` that is renamed at the end, so that
    nobody ever reads a part, and nothing is left if one of them cannot be made. Raises `OSError`.
    """
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
                count += 1
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(partial).unlink()
        raise
    return count
