"""SHA-256 digests of files, bytes and prompts."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from archroute_server.bundle.manifest import FileDigest


def digest_of(content: bytes) -> str:
    """Return `sha256:<hex>` of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_file(path: Path) -> FileDigest:
    """Read `path` once, in pieces, and return its digest and size. Raises `OSError`."""
    with path.open("rb") as file:
        return FileDigest(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def tokens_sha256(token_ids: Sequence[int]) -> str:
    """Return a prompt's digest in hexadecimal: each token id as four bytes, the least significant first."""
    return hashlib.sha256(b"".join(token.to_bytes(4, "little") for token in token_ids)).hexdigest()
