"""SHA-256 of large files, with progress."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

_READ_SIZE = 4 << 20

# Called with the bytes done so far and the bytes in all.
Progress = Callable[[int, int], None]


def sha256_files(paths: Sequence[Path], progress: Progress | None = None) -> list[str]:
    """Read each file once and return its SHA-256 in hexadecimal. Raises `OSError`."""
    total, done = sum(path.stat().st_size for path in paths), 0
    buffer = bytearray(_READ_SIZE)
    view = memoryview(buffer)
    digests = []
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(view[:count])
                done += count
                if progress is not None:
                    progress(done, total)
        digests.append(digest.hexdigest())
    return digests
