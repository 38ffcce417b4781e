"""Bundle: a verified folder on disk."""

from dataclasses import dataclass
from pathlib import Path

from archroute_server.bundle.digest import digest_file, digest_of
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    Manifest,
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files are the ones that its manifest lists."""

    folder: Path
    manifest: Manifest
    digest: str
    """`sha256:<hex>` of the manifest, and through the digests in it, of every file."""

    @property
    def graph(self) -> Path:
        """The ONNX graph."""
        return self.folder / GRAPH_FILE

    @property
    def tokenizer(self) -> Path:
        """The tokenizer."""
        return self.folder / TOKENIZER_FILE


def open_bundle(folder: Path) -> Bundle:
    """Read the manifest in `folder` and check every file against it.

    Raises `BundleError` naming what is missing, altered, or of a version that is not understood.
    """
    manifest, digest = read_manifest(folder)
    for name in (GRAPH_FILE, TOKENIZER_FILE):
        if name not in manifest.files:
            raise BundleError(f"{folder / MANIFEST_FILE} lists no {name}; export the checkpoint again")
    for name in manifest.files:
        _verify(folder, name, manifest)
    return Bundle(folder, manifest, digest)


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest in `folder` and its digest, without a look at the other files.

    Raises `BundleError` if there is none, or none that is understood.
    """
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BundleError(
            f"{folder} is not a bundle: it holds no {MANIFEST_FILE}; "
            f"make one with `archroute export SOURCE --output {folder}`"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    return Manifest.decode(content, str(path)), digest_of(content)


def _verify(folder: Path, name: str, manifest: Manifest) -> None:
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise BundleError(
            f"{folder / MANIFEST_FILE} lists {name!r}, which is not the name of a file beside it"
        )
    path = folder / name
    listed = manifest.files[name]
    try:
        size = path.stat().st_size
        # The size first: it is free, and tells a truncated copy at once.
        if size != listed.bytes:
            raise BundleError(
                f"{path} has {size} bytes and the manifest says {listed.bytes}: the bundle was altered or "
                "copied in part; copy it or export the checkpoint again"
            )
        found = digest_file(path)
    except FileNotFoundError:
        raise BundleError(
            f"{path} is missing from the bundle; copy it or export the checkpoint again"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    if found.sha256 != listed.sha256:
        raise BundleError(
            f"{path} has SHA-256 {found.sha256} and the manifest says {listed.sha256}: the bundle was "
            "altered; copy it or export the checkpoint again"
        )
