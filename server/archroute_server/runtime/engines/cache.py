"""EngineCache: folders of built engines, each whole or absent.

    <root>/3e4d27e35d79-tensorrt-sm90-onnxruntime-1.31.1-tensorrt-10.16.1.11-5c1d0a4e/
        engines.json     what they were built from and how they were tested; see `EngineManifest`
        ...              what the provider wrote: engines, their profiles, the timing cache

A folder gets its name when its engines have been built, written, read again and tested. ONNX Runtime itself
writes files in place, does not look whether the disk took them, and builds anew, without a word, what it
finds no file for.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from archroute_server.bundle.engine_manifest import ENGINE_MANIFEST_FILE, EngineKey, EngineManifest
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.whole_folder import whole_folder
from archroute_server.runtime.errors import RuntimeLoadError

# TensorRT's measurements of its kernels, as ONNX Runtime names them.
_TIMING_CACHES = "*.timing"


class EngineCache:
    """The engines below one folder."""

    def __init__(self, root: Path | None = None) -> None:
        """`root` is in the user's cache folder unless given."""
        self._root = root or user_cache_path("archroute") / "engines"
        self._flag = f" --engine-cache {root}" if root else ""

    def folder(self, key: EngineKey) -> Path:
        """Return where the engines of `key` are, or would be."""
        return self._root / key.folder_name

    def find(self, key: EngineKey) -> EngineManifest | None:
        """Return the manifest of the engines of `key`; None if there are none, or not all of their files."""
        folder = self.folder(key)
        path = folder / ENGINE_MANIFEST_FILE
        try:
            manifest = EngineManifest.decode(path.read_bytes(), str(path))
        except (OSError, BundleError):
            return None
        whole = all((folder / name).is_file() for name in manifest.files)
        return manifest if manifest.key == key and whole else None

    @contextmanager
    def using(self, key: EngineKey, bundle: Path) -> Iterator[Path]:
        """Give the folder of the engines of `key` to a block that loads them, and builds none.

        `bundle` is the folder that they were built from. Raises `RuntimeLoadError` if there are none, if the
        block raises it, and if ONNX Runtime built engines after all.
        """
        command = f"archroute build-engines --model {bundle} --provider {key.provider}{self._flag}"
        if self.find(key) is None:
            raise RuntimeLoadError(
                f"{self._root} holds no engines of {bundle} ({key.bundle_digest}) for {key}. They take "
                "minutes to build, so no server does it. Build them first with "
                f"`{command}`, or use --provider cuda"
            )
        folder = self.folder(key)
        with _unchanged(folder, f"`{command} --force`"):
            yield folder

    @contextmanager
    def building(self, key: EngineKey) -> Iterator[Path]:
        """Give a folder to a block that builds engines and seals it, and put it in place at the end.

        See `whole_folder`. Measurements of an earlier build for the same key are in it. Raises
        `RuntimeLoadError` for a disk that is full or not writable, and then, as when the block raises,
        nothing was changed.
        """
        target = self.folder(key)
        try:
            with whole_folder(target) as partial:
                for path in target.glob(_TIMING_CACHES):
                    shutil.copyfile(path, partial / path.name)
                yield partial
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RuntimeLoadError(
                    f"the disk of {self._root} is full; no engines were kept. Free some space, or name a "
                    "folder of another disk with --engine-cache"
                ) from error
            raise RuntimeLoadError(
                f"cannot write engines to {error.filename or self._root}: {error.strerror or error}; name a "
                "folder that can be written with --engine-cache"
            ) from error


@contextmanager
def rereading(partial: Path) -> Iterator[None]:
    """Run a block that loads the engines that were just built into `partial`, as a server will.

    Raises `RuntimeLoadError` if there are none, and if they were built again instead of read.
    """
    if all(Path(name).match(_TIMING_CACHES) for name in _state(partial)):
        raise RuntimeLoadError(
            "the provider loaded the graph and wrote no engine, so it may run no part of it; use --provider "
            "cuda instead, and report this"
        )
    with _unchanged(partial, "the command again, with more space on the disk"):
        yield


def seal(partial: Path, key: EngineKey, *, prompts: int, difference: float, bound: float) -> None:
    """Write the manifest of engines that passed their test. Raises `OSError`."""
    manifest = EngineManifest(
        key=key, files=sorted(_state(partial)), prompts=prompts, difference=difference, bound=bound
    )
    (partial / ENGINE_MANIFEST_FILE).write_bytes(manifest.encode())


@contextmanager
def _unchanged(folder: Path, remedy: str) -> Iterator[None]:
    """Run a block that only reads the engines in `folder`. Raises `RuntimeLoadError` otherwise."""
    before = _state(folder)
    try:
        yield
    except RuntimeLoadError as error:
        raise RuntimeLoadError(f"{error}. If the engines in {folder} are damaged, run {remedy}") from error
    if _state(folder) != before:
        raise RuntimeLoadError(
            f"ONNX Runtime built engines instead of using those in {folder}: they are damaged, or of another "
            f"version; run {remedy}"
        )


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of the last change, in nanoseconds, of each file that the provider wrote."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.name != ENGINE_MANIFEST_FILE
    }
