from pathlib import Path

import pytest

from archroute_export.checkpoint import embedded, hub
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_file import GgufFile
from archroute_export.checkpoint.open import open_adapter, open_checkpoint
from support.adapters import write_tiny_adapter
from support.checkpoints import write_tiny_checkpoint
from support.gguf_checkpoints import write_tiny_gguf


def test_opens_a_folder(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    assert open_checkpoint(str(tmp_path)).kind == "safetensors"


def test_opens_a_gguf_file_whatever_its_name(tmp_path: Path) -> None:
    for name in ("model.gguf", "blob"):
        write_tiny_gguf(tmp_path / name)
        assert open_checkpoint(str(tmp_path / name)).kind == "gguf"


def test_a_folder_comes_before_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_checkpoint(tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    assert open_checkpoint("owner/name").name == "owner/name"


def test_downloads_an_id_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_checkpoint(tmp_path)
    monkeypatch.setattr(hub, "download", lambda model: tmp_path)
    said: list[str] = []
    checkpoint = open_checkpoint("katanemo/Arch-Router-1.5B", said.append)
    assert checkpoint.name == "katanemo/Arch-Router-1.5B"
    assert "katanemo/Arch-Router-1.5B" in said[0]


def test_opens_the_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_gguf(tmp_path / "model.gguf")
    monkeypatch.setattr(embedded, "fetch", lambda announce: tmp_path / "model.gguf")
    checkpoint = open_checkpoint("embedded")
    assert checkpoint.name == "SmolLM2-135M-Instruct"
    # The base by itself, which is what others are trained from.
    assert isinstance(checkpoint, GgufFile)


def test_opens_the_adapter_that_comes_along() -> None:
    adapter = open_adapter("embedded")
    assert adapter.title == "embedded"
    assert adapter.prompt == "archroute/compact-quoted"
    assert adapter.base_digest == f"sha256:{embedded.MODEL.digest}"


def test_opens_the_adapter_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    write_tiny_adapter(tmp_path / "embedded", base)
    monkeypatch.chdir(tmp_path)
    assert open_adapter("./embedded").name == "embedded"
    assert open_adapter("./embedded").prompt is None


@pytest.mark.parametrize(
    "source", ["arch-router", "./missing", "/missing/folder", "~/missing", "owner/model.gguf", "a/b/c"]
)
def test_anything_else_names_the_choices(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no such file or folder\. Name a Hugging Face id such as"):
        open_checkpoint(source)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_of_a_folder_names_the_folder(tmp_path: Path, name: str) -> None:
    write_tiny_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=f"name the folder that holds it: {tmp_path}"):
        open_checkpoint(str(tmp_path / name))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(CheckpointError, match=r"notes\.txt: not a GGUF file"):
        open_checkpoint(str(tmp_path / "notes.txt"))


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(CheckpointError, match="no checkpoint is named"):
        open_checkpoint("")
