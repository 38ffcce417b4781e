"""The embedded model: what a server decides with when it is not given one."""

import asyncio
import hashlib
import logging
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from platformdirs import user_cache_path

from archroute_server.bundle.digest import digest_file
from archroute_server.bundle.manifest import MANIFEST_FILE, SCHEMA_VERSION
from archroute_server.telemetry.logging import log_event

EXPORT_COMMAND = (sys.executable, "-m", "archroute", "export", "embedded", "--output")
# Of the exporter its files, not its code: another adapter makes another model.
ADAPTER = Path(str(resources.files("archroute_export"))) / "embedded" / "adapter"

_logger = logging.getLogger(__name__)


class EmbeddedModelError(Exception):
    """The embedded model could not be built; the message says what to do."""


async def embedded_bundle(
    cache: Path | None = None,
    export_command: Sequence[str] = EXPORT_COMMAND,
    adapter: Path = ADAPTER,
) -> Path:
    """Return the folder of the embedded model's bundle, which is built first if it is not there.

    Building runs the exporter as a process of its own, whose progress goes to the same terminal. `cache` is
    the user's cache folder unless given, and `adapter` what the exporter merges into the embedded model.
    Raises `EmbeddedModelError`.
    """
    # A bundle of another schema or adapter stays for the archroute that reads it.
    name = f"embedded-{SCHEMA_VERSION}-{_short_digest(adapter)}"
    folder = (cache or user_cache_path("archroute")) / "bundles" / name
    # The exporter puts a bundle in place whole, so the manifest stands for all of it.
    if (folder / MANIFEST_FILE).is_file():
        return folder
    log_event(
        _logger,
        logging.INFO,
        "building the embedded model, once: no --model was given and the cache has none",
        folder=str(folder),
    )
    exporter = await asyncio.create_subprocess_exec(*export_command, str(folder))
    try:
        status = await exporter.wait()
    except asyncio.CancelledError:
        exporter.terminate()
        await exporter.wait()
        raise
    # Another server that started at the same time may have put it there first.
    if status != 0 and not (folder / MANIFEST_FILE).is_file():
        raise EmbeddedModelError(
            f"the embedded model could not be built: the exporter ended with status {status} and said why "
            "above. Building needs the 'export' extra (pip install 'archroute[export]'); to do without, "
            "name a bundle with --model DIR"
        )
    return folder


def _short_digest(adapter: Path) -> str:
    """Return the first digits of a digest over the names and the contents of an adapter's files."""
    try:
        listing = "".join(f"{digest_file(path).sha256}  {path.name}\n" for path in sorted(adapter.iterdir()))
    except OSError as error:
        raise EmbeddedModelError(
            f"the adapter of the embedded model cannot be read: {error.filename}: {error.strerror}; install "
            "archroute again, or name a bundle with --model DIR"
        ) from error
    return hashlib.sha256(listing.encode()).hexdigest()[:12]
