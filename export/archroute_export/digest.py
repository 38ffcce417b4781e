"""SHA-256 of large files, with progress."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_READ_SIZE = 4 << 20


def sha256(path: Path, advance: Callable[[int], None]) -> str:
    """Read a file once and return its SHA-256 in hexadecimal. Raises `OSError`.

    `advance` is called with the number of bytes of each piece.
    """
    digest = hashlib.sha256()
    buffer = bytearray(_READ_SIZE)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
            advance(count)
    return digest.hexdigest()
