"""Engines are whole or absent, and are used for what they were built for alone."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from archroute_server.bundle import whole_folder
from archroute_server.bundle.engine_manifest import ENGINE_MANIFEST_FILE, EngineKey
from archroute_server.runtime.engines.cache import EngineCache, rereading, seal
from archroute_server.runtime.errors import RuntimeLoadError

KEY = EngineKey(
    provider="tensorrt",
    bundle_digest="sha256:3e4d27e35d7930cd7113a4f776695ff744db8961e08aa3aada719caae873e573",
    compute_capability="9.0",
    versions={"onnxruntime": "1.31.1", "TensorRT": "10.16.1.11"},
    profile={"min": "select:1", "opt": "select:2", "max": "select:3"},
)
BUNDLE = Path("/models/arch-router")


def build(cache: EngineCache, key: EngineKey = KEY, engine: bytes = b"engine") -> Path:
    with cache.building(key) as partial:
        (partial / "a.engine").write_bytes(engine)
        (partial / "a.timing").write_bytes(b"measured")
        seal(partial, key, prompts=6, difference=0.01, bound=0.05)
    return cache.folder(key)


def test_what_was_built_is_found(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    assert cache.find(KEY) is None
    folder = build(cache)
    found = cache.find(KEY)
    assert found is not None
    assert (found.files, found.prompts, found.difference, found.bound) == (
        ["a.engine", "a.timing"],
        6,
        0.01,
        0.05,
    )
    with cache.using(KEY, BUNDLE) as used:
        assert used == folder


def test_the_folder_says_what_it_is_for(tmp_path: Path) -> None:
    name = EngineCache(tmp_path).folder(KEY).name
    assert name.startswith("3e4d27e35d79-tensorrt-sm90-onnxruntime-1.31.1-tensorrt-10.16.1.11-")


@pytest.mark.parametrize(
    "other",
    [
        {"provider": "tensorrt-rtx"},
        {"bundle_digest": "sha256:00"},
        {"compute_capability": "8.9"},
        {"versions": {"onnxruntime": "1.31.1", "TensorRT": "10.17.0"}},
        {"versions": {"onnxruntime": "1.31.2", "TensorRT": "10.16.1.11"}},
        {"profile": {"min": "select:1", "opt": "select:2", "max": "select:4"}},
    ],
)
def test_other_engines_are_in_another_folder(tmp_path: Path, other: dict[str, object]) -> None:
    cache = EngineCache(tmp_path)
    build(cache)
    assert cache.find(msgspec.structs.replace(KEY, **other)) is None


def test_without_engines_the_command_that_builds_them_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(
            RuntimeLoadError,
            match=rf"no engines of {BUNDLE} \(sha256:3e4d\w+\) for tensorrt, compute capability 9.0, "
            r"onnxruntime 1\.31\.1, TensorRT 10\.16\.1\.11.* `archroute build-engines --model "
            rf"{BUNDLE} --provider tensorrt --engine-cache {tmp_path}`",
        ),
        EngineCache(tmp_path).using(KEY, BUNDLE),
    ):
        raise AssertionError("nothing to use")


def remove_engine(folder: Path) -> None:
    (folder / "a.engine").unlink()


def cut_manifest(folder: Path) -> None:
    path = folder / ENGINE_MANIFEST_FILE
    path.write_bytes(path.read_bytes()[:-20])


def change_key(folder: Path) -> None:
    path = folder / ENGINE_MANIFEST_FILE
    path.write_bytes(path.read_bytes().replace(b"9.0", b"8.0"))


def change_schema(folder: Path) -> None:
    path = folder / ENGINE_MANIFEST_FILE
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 2'))


@pytest.mark.parametrize("damage", [remove_engine, cut_manifest, change_key, change_schema])
def test_damaged_engines_are_none(tmp_path: Path, damage: object) -> None:
    cache = EngineCache(tmp_path)
    damage(build(cache))  # type: ignore[operator]
    assert cache.find(KEY) is None


def test_engines_that_were_built_while_they_should_be_read_are_refused(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    folder = build(cache)
    with (
        pytest.raises(
            RuntimeLoadError, match=rf"built engines instead of using those in {folder}: .* --force`"
        ),
        cache.using(KEY, BUNDLE),
    ):
        (folder / "b.engine").write_bytes(b"another")


def test_whoever_cannot_load_them_learns_how_to_build_them_again(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    folder = build(cache)
    with (
        pytest.raises(RuntimeLoadError, match=rf"^out of memory\. If the engines in {folder} .* --force`$"),
        cache.using(KEY, BUNDLE),
    ):
        raise RuntimeLoadError("out of memory")


def fail_to_build(cache: EngineCache) -> list[str]:
    """Fail in the middle; return what was in the folder before."""
    before: list[str] = []

    def fail() -> None:
        with cache.building(KEY) as partial:
            before.extend(path.name for path in partial.iterdir())
            (partial / "a.engine").write_bytes(b"half of an eng")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    return before


def test_nothing_is_kept_when_building_fails(tmp_path: Path) -> None:
    assert fail_to_build(EngineCache(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_engines_that_were_there_stay_when_building_fails(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    folder = build(cache)
    # What TensorRT measured is used again.
    assert fail_to_build(cache) == ["a.timing"]
    assert (folder / "a.engine").read_bytes() == b"engine"
    assert cache.find(KEY) is not None
    build(cache, engine=b"new")
    assert (folder / "a.engine").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full; no engines were kept. Free some space"),
        (errno.EDQUOT, "is full; no engines were kept. Free some space"),
        (errno.EACCES, "cannot write engines to .* name a folder that can be written with --engine-cache"),
    ],
)
def test_a_disk_that_takes_nothing(tmp_path: Path, number: int, words: str) -> None:
    cache = EngineCache(tmp_path)
    with pytest.raises(RuntimeLoadError, match=words), cache.building(KEY):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_folder, "_sync", full)
    with pytest.raises(RuntimeLoadError, match="is full"):
        build(EngineCache(tmp_path))
    assert list(tmp_path.iterdir()) == []


BUILDER = """
import sys, msgspec
from pathlib import Path
from archroute_server.bundle.engine_manifest import EngineKey
from archroute_server.runtime.engines.cache import EngineCache, seal

key = msgspec.json.decode(sys.argv[2], type=EngineKey)
with EngineCache(Path(sys.argv[1])).building(key) as partial:
    (partial / "a.engine").write_bytes(b"engine")
    seal(partial, key, prompts=6, difference=0.01, bound=0.05)
    print("building", flush=True)
    sys.stdin.read()
"""


def test_a_builder_that_is_killed_leaves_no_engines(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", BUILDER, str(tmp_path), msgspec.json.encode(KEY).decode()]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        builder.kill()
    cache = EngineCache(tmp_path)
    assert cache.find(KEY) is None
    assert len(list(tmp_path.iterdir())) == 1
    folder = build(cache)
    # What the other left is gone.
    assert list(tmp_path.iterdir()) == [folder]


def test_what_was_built_must_be_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.timing").write_bytes(b"of an earlier build")
    with pytest.raises(RuntimeLoadError, match="wrote no engine"), rereading(tmp_path):
        raise AssertionError("nothing to read")
    (tmp_path / "a.engine").write_bytes(b"engine")
    with rereading(tmp_path):
        pass
    with pytest.raises(RuntimeLoadError, match="built engines instead"), rereading(tmp_path):
        (tmp_path / "a.engine").write_bytes(b"again!")
