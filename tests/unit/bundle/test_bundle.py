import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archroute_server.bundle.bundle import open_bundle, read_manifest
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.manifest import Calibration

FILES = {"model.onnx": b"a graph", "model.onnx.data": b"\1\2\3\4", "tokenizer.json": b"{}"}
MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "created_by": "archroute 0.1.0",
    "exporter": "archroute",
    "source": {"name": "a/model", "kind": "safetensors", "digest": "sha256:00"},
    "model": {
        "family": "qwen2",
        "layers": 2,
        "hidden_size": 64,
        "attention_heads": 4,
        "key_value_heads": 2,
        "head_size": 16,
        "vocabulary_size": 640,
        "maximum_positions": 4096,
    },
    "precision": "int8",
    "prompt": {
        "variant": "arch-router/model-card",
        "chat_frame": [{"prompt": True}],
        "rendered_chat_frame": "{prompt}",
        "end_of_turn": 2,
    },
    "parity": {
        "reference": "numpy-float32",
        "prompts": 3,
        "positions": 80,
        "max_error": 0.1,
        "relative_error": 0.01,
        "same_choice": 1.0,
        "bound": 0.25,
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    files = {}
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"files": files}))
    return folder


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_whole_bundle_opens(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.graph == folder / "model.onnx"
    assert bundle.tokenizer == folder / "tokenizer.json"
    content = (folder / "manifest.json").read_bytes()
    assert bundle.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert bundle.manifest.model.layers == 2


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    manifest = open_bundle(folder).manifest
    written = manifest.encode()
    assert json.loads(written) == json.loads((folder / "manifest.json").read_text())
    assert type(manifest).decode(written, "manifest.json") == manifest
    assert written.endswith(b"}\n")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing from the bundle; copy it or export"):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_an_altered_byte_is_found(folder: Path, name: str) -> None:
    content = bytearray(FILES[name])
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} has SHA-256 .* the bundle was altered"):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found_by_its_size(folder: Path, name: str) -> None:
    (folder / name).write_bytes(FILES[name][:-1])
    size = len(FILES[name])
    with pytest.raises(BundleError, match=rf"{name} has {size - 1} bytes and the manifest says {size}"):
        open_bundle(folder)


def test_text_that_is_not_utf8_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"archroute 0.1.0", b"\xff"))
    with pytest.raises(BundleError, match=r"manifest\.json: 'utf-8' codec can't decode"):
        open_bundle(folder)


@pytest.mark.parametrize("content", [b"\xff", b'{"temperature": "\xff"}', b'{"examples": ' + b"[" * 100_000])
def test_what_is_no_calibration_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"calibration\.json is not a calibration"):
        Calibration.decode(content, "calibration.json")


CALIBRATION: dict[str, Any] = {
    "temperature": 1.5,
    "examples": 200,
    "fitted_on": "sha256:00",
    "loss_before": 0.5,
    "loss_after": 0.4,
    "error_before": 0.1,
    "error_after": 0.02,
    "precision": 0.95,
    "min_probability": 0.7,
    "coverage": 0.8,
}


def test_a_bundle_may_be_calibrated_and_is_then_another_one(folder: Path) -> None:
    before = open_bundle(folder)
    edit(folder, lambda manifest: manifest.update(calibration=CALIBRATION))
    after = open_bundle(folder)
    assert before.manifest.calibration is None
    assert after.manifest.calibration is not None
    assert after.manifest.calibration.temperature == 1.5
    assert before.digest != after.digest
    assert json.loads(after.manifest.encode())["calibration"] == CALIBRATION
    assert before.manifest.with_calibration(after.manifest.calibration) == after.manifest


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"temperature": -1.0}, {"min_probability": 1.5}, {"error_after": -0.1}]
)
def test_a_calibration_that_cannot_be_is_refused(folder: Path, wrong: dict[str, float]) -> None:
    edit(folder, lambda manifest: manifest.update(calibration=CALIBRATION | wrong))
    with pytest.raises(BundleError, match=rf"\$\.calibration\.{next(iter(wrong))}"):
        open_bundle(folder)


SELF_TEST: dict[str, Any] = {
    "policies": [{"name": "code", "description": "Writing code"}],
    "max_prompt_tokens": 1024,
    "prompts": [
        {
            "messages": [{"role": "user", "text": "hi"}],
            "prompt_sha256": "00",
            "choice": "other",
            "probability": 0.75,
            "branches": [[-0.287682, -1.386294]],
        }
    ],
    "measured": 0.01,
    "bound": 0.05,
}


def test_a_bundle_may_bring_fixed_prompts(folder: Path) -> None:
    assert open_bundle(folder).manifest.self_test is None
    edit(folder, lambda manifest: manifest.update(self_test=SELF_TEST))
    manifest = open_bundle(folder).manifest
    assert manifest.self_test is not None
    assert manifest.self_test.prompts[0].choice == "other"
    assert json.loads(manifest.encode())["self_test"] == SELF_TEST


@pytest.mark.parametrize(
    "wrong", [{"bound": 0.0}, {"bound": -1.0}, {"prompts": []}, {"policies": []}, {"max_prompt_tokens": 0}]
)
def test_fixed_prompts_that_would_test_nothing_are_refused(folder: Path, wrong: dict[str, object]) -> None:
    edit(folder, lambda manifest: manifest.update(self_test=SELF_TEST | wrong))
    with pytest.raises(BundleError, match=rf"\$\.self_test\.{next(iter(wrong))}"):
        open_bundle(folder)


def test_the_manifest_can_be_read_by_itself(folder: Path) -> None:
    bundle = open_bundle(folder)
    (folder / "model.onnx.data").unlink()
    assert read_manifest(folder) == (bundle.manifest, bundle.digest)


@pytest.mark.parametrize(("version", "advice"), [(2, "install a newer archroute"), (0, "export the")])
def test_another_schema_version_says_what_to_do(folder: Path, version: int, advice: str) -> None:
    # Whatever else such a manifest holds, its version is what is wrong with it.
    edit(folder, lambda manifest: manifest.update(schema_version=version, something_new=[]))
    with pytest.raises(BundleError, match=rf"has schema version {version}, .* reads version 1: {advice}"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda manifest: manifest.update(extra=1), "unknown field `extra`"),
        (lambda manifest: manifest["model"].update(experts=8), r"unknown field `experts` - at `\$\.model`"),
        (lambda manifest: manifest.pop("precision"), "missing required field `precision`"),
        (lambda manifest: manifest.update(precision="int2"), "Invalid enum value 'int2'"),
        (lambda manifest: manifest["model"].update(layers="2"), r"Expected `int`, got `str`"),
        (lambda manifest: manifest["model"].update(layers=10**9), r"Expected `int` <= 1024 - at `\$\.model"),
        (lambda manifest: manifest["model"].update(head_size=-16), r"Expected `int` >= 1 - at `\$\.model"),
    ],
)
def test_a_manifest_that_does_not_fit_the_schema_names_the_field(
    folder: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{reason}"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"[]",
        b'{"schema_version": "1"}',
        b"\xff\xfe",
        b'{"schema_version": 1, "a": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json is not a bundle's manifest"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "a/", "..", ".", "", "a\0b"])
def test_files_beside_the_manifest_are_all_that_it_may_name(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    edit(folder, lambda manifest: manifest["files"].update({name: manifest["files"]["model.onnx"]}))
    with pytest.raises(BundleError, match="is not the name of a file beside it"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_manifest_lists_what_the_server_needs(folder: Path, name: str) -> None:
    edit(folder, lambda manifest: manifest["files"].pop(name))
    with pytest.raises(BundleError, match=rf"lists no {name}; export the checkpoint again"):
        open_bundle(folder)


def test_a_folder_that_is_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match=r"is not a bundle: it holds no manifest\.json; make one with"):
            open_bundle(folder)


def test_a_file_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read: Not a directory"):
        open_bundle(tmp_path / "file")
