"""Exporting a checkpoint: what is written, and what is left when something goes wrong."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from archroute_export import exporting
from archroute_export.checkpoint.adapted import AdaptedCheckpoint
from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.errors import ExportError
from archroute_export.exporting import ExportRequest, export
from archroute_export.parity.case import ParityCase
from archroute_export.progress import Stages
from archroute_server.bundle.bundle import open_bundle
from archroute_server.bundle.manifest import AdapterSource, Calibration, PrecisionName
from archroute_server.router.prompt import VARIANTS
from support.adapters import write_tiny_adapter
from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint
from support.gguf_checkpoints import write_tiny_gguf


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny-model"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "bundle"


def request_for(source: Path, output: Path, **changes: object) -> ExportRequest:
    request = ExportRequest(str(source), output, "fp32", "arch-router/model-card", replace=False)
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


def run_export(source: Path, output: Path, **changes: object) -> None:
    export(request_for(source, output, **changes), Stages())


def assert_nothing_left(output: Path) -> None:
    assert not output.parent.exists() or list(output.parent.iterdir()) == []


# What is written.


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bundle_holds_all_that_the_server_needs(
    checkpoint: Path, output: Path, precision: PrecisionName, variant: str
) -> None:
    run_export(checkpoint, output, precision=precision, variant=variant)
    bundle = open_bundle(output)
    manifest = bundle.manifest
    assert sorted(path.name for path in output.iterdir()) == ["manifest.json", *sorted(manifest.files)]
    # TensorRT runs no other precisions.
    tensorrt = ["model.tensorrt.onnx"] if precision in ("fp32", "fp16") else []
    assert sorted(manifest.files) == ["model.onnx", "model.onnx.data", *tensorrt, "tokenizer.json"]
    assert (manifest.precision, manifest.prompt.variant) == (precision, variant)
    assert manifest.exporter == "archroute"
    assert manifest.source.kind == "safetensors"
    assert manifest.source.digest == SafetensorsFolder(checkpoint).digest
    assert (manifest.model.family, manifest.model.layers, manifest.model.vocabulary_size) == ("qwen2", 2, 640)
    assert (manifest.prompt.end_of_turn, manifest.prompt.chat_frame[0]) == (
        2,
        {"token": 1, "text": "<|im_start|>"},
    )
    assert manifest.prompt.rendered_chat_frame.endswith(
        "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert bundle.tokenizer.read_text() == (checkpoint / "tokenizer.json").read_text()
    parity = manifest.parity
    assert parity.relative_error <= parity.bound
    assert (parity.prompts, parity.reference) == (3, "numpy-float32")
    assert parity.positions > 6 * 10


def test_the_manifest_names_no_path_of_this_machine(checkpoint: Path, output: Path, tmp_path: Path) -> None:
    run_export(checkpoint, output)
    manifest = open_bundle(output).manifest
    assert manifest.source.name == "tiny-model"
    gguf = tmp_path / "tiny-model.Q8_0.gguf"
    write_tiny_gguf(gguf)
    run_export(gguf, tmp_path / "from-gguf")
    assert open_bundle(tmp_path / "from-gguf").manifest.source.name == "tiny-model.Q8_0.gguf"
    for bundle in (output, tmp_path / "from-gguf"):
        assert str(tmp_path) not in (bundle / "manifest.json").read_text()


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, output: Path, tmp_path: Path) -> None:
    first = export_bundle(checkpoint, output, "int8")
    second = export_bundle(checkpoint, tmp_path / "again", "int8")
    assert first.digest == second.digest


def test_shards_give_the_same_graph_as_one_file(output: Path, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "one")
    write_tiny_checkpoint(tmp_path / "sharded", shards=3)
    one = export_bundle(tmp_path / "one", tmp_path / "from-one")
    sharded = export_bundle(tmp_path / "sharded", tmp_path / "from-sharded")
    assert one.manifest.files == sharded.manifest.files


# With an adapter.

TRAINING = {"prompt": "archroute/compact", "base": {"digest": "sha256:of-another-file"}}


@pytest.fixture
def adapter(checkpoint: Path, tmp_path: Path) -> Path:
    base = SafetensorsFolder(checkpoint)
    weights = {name: base.tensor(name) for name in base.tensor_names}
    write_tiny_adapter(tmp_path / "my-adapter", weights, training=TRAINING)
    return tmp_path / "my-adapter"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_adapter_is_merged_and_recorded(
    checkpoint: Path, adapter: Path, output: Path, tmp_path: Path, precision: PrecisionName
) -> None:
    run_export(checkpoint, output, precision=precision, adapter=str(adapter), variant=None)
    bundle = open_bundle(output)
    source = bundle.manifest.source
    opened = Adapter(adapter)
    assert source.adapter == AdapterSource(name="my-adapter", digest=opened.digest)
    assert source.digest == AdaptedCheckpoint(SafetensorsFolder(checkpoint), opened).digest
    assert source.name == "tiny-model"
    assert str(tmp_path) not in (output / "manifest.json").read_text()
    assert bundle.manifest.prompt.variant == "archroute/compact"
    assert bundle.manifest.parity.relative_error <= bundle.manifest.parity.bound
    plain = export_bundle(checkpoint, tmp_path / "plain", precision).manifest
    assert plain.files["model.onnx.data"] != bundle.manifest.files["model.onnx.data"]
    assert plain.source.adapter is None
    assert "adapter" not in json.loads((tmp_path / "plain" / "manifest.json").read_text())["source"]


def test_the_calibration_beside_an_adapter_is_taken_over(
    checkpoint: Path, adapter: Path, output: Path
) -> None:
    calibration = Calibration(
        temperature=1.5,
        examples=240,
        fitted_on="sha256:0",
        loss_before=0.75,
        loss_after=0.5,
        error_before=0.25,
        error_after=0.125,
        precision=0.95,
        min_probability=None,
        coverage=None,
    )
    (adapter / "calibration.json").write_bytes(calibration.encode())
    run_export(checkpoint, output, adapter=str(adapter), variant=None)
    assert open_bundle(output).manifest.calibration == calibration


def test_a_calibration_that_cannot_be_read_stops_the_export(
    checkpoint: Path, adapter: Path, output: Path
) -> None:
    (adapter / "calibration.json").write_text('{"temperature": "warm"}')
    with pytest.raises(CheckpointError, match=r"calibration\.json is not a calibration: .*temperature"):
        run_export(checkpoint, output, adapter=str(adapter), variant=None)
    assert not output.exists()


def test_an_adapter_that_says_nothing_leaves_the_prompt_to_the_user(
    checkpoint: Path, adapter: Path, output: Path, tmp_path: Path
) -> None:
    (adapter / "training.json").unlink()
    run_export(checkpoint, output, adapter=str(adapter), variant=None)
    run_export(checkpoint, tmp_path / "named", adapter=str(adapter), variant="arch-router/gateway")
    variants = [open_bundle(folder).manifest.prompt.variant for folder in (output, tmp_path / "named")]
    assert variants == ["arch-router/model-card", "arch-router/gateway"]


def test_another_prompt_than_that_of_the_training_is_refused(
    checkpoint: Path, adapter: Path, output: Path
) -> None:
    with pytest.raises(
        ExportError,
        match=r"my-adapter was trained on the prompt archroute/compact, and would be asked with "
        r"arch-router/gateway: leave out --prompt, or export the base alone with --adapter none",
    ):
        run_export(checkpoint, output, adapter=str(adapter), variant="arch-router/gateway")
    assert_nothing_left(output)


@pytest.mark.parametrize("other", [True, False])
def test_a_base_of_other_bytes_than_the_adapters_is_announced(
    checkpoint: Path, adapter: Path, output: Path, capsys: pytest.CaptureFixture[str], other: bool
) -> None:
    digest = "sha256:of-another-file" if other else SafetensorsFolder(checkpoint).digest
    (adapter / "training.json").write_text(json.dumps({"base": {"digest": digest}}))
    run_export(checkpoint, output, adapter=str(adapter), variant=None)
    said = capsys.readouterr().err
    assert ("my-adapter was trained on a base with the digest sha256:of-another-file, but" in said) == other
    assert ("the same weights in another format, or another model" in said) == other


def test_an_adapter_of_another_base_is_refused_and_leaves_nothing(
    adapter: Path, output: Path, tmp_path: Path
) -> None:
    write_tiny_checkpoint(tmp_path / "wide", hidden=128)
    with pytest.raises(CheckpointError, match=r"lora_A\.weight has the shape \[4, 64\], but .*wide"):
        run_export(tmp_path / "wide", output, adapter=str(adapter), variant=None)
    assert_nothing_left(output)


def test_optimum_merges_no_adapters(checkpoint: Path, adapter: Path, output: Path) -> None:
    with pytest.raises(
        ExportError, match=r"my-adapter: --exporter optimum merges no adapters; save the merged"
    ):
        run_export(checkpoint, output, adapter=str(adapter), variant=None, exporter="optimum")
    assert_nothing_left(output)


# Where it is written.


def test_what_is_there_already_is_kept_unless_forced(checkpoint: Path, output: Path) -> None:
    first = export_bundle(checkpoint, output)
    with pytest.raises(ExportError, match="or replace it with --force"):
        run_export(checkpoint, output, precision="int8")
    assert open_bundle(output).digest == first.digest
    run_export(checkpoint, output, precision="int8", replace=True)
    assert open_bundle(output).manifest.precision == "int8"
    assert [path.name for path in output.parent.iterdir()] == ["bundle"]


def test_a_forced_export_that_fails_keeps_the_old_bundle(
    checkpoint: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export_bundle(checkpoint, output)
    _miss_parity(monkeypatch)
    with pytest.raises(ExportError, match="does not compute"):
        run_export(checkpoint, output, replace=True)
    assert open_bundle(output).digest == first.digest
    assert [path.name for path in output.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_parent_that_is_no_folder_is_named(checkpoint: Path, tmp_path: Path, replace: bool) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot write in .*file"):
        run_export(checkpoint, tmp_path / "file" / "bundle", replace=replace)


def test_nothing_is_read_for_an_output_that_cannot_be_used(tmp_path: Path, output: Path) -> None:
    output.mkdir(parents=True)
    (output / "notes.txt").touch()
    with pytest.raises(ExportError, match="is not a bundle"):
        run_export(tmp_path / "no such checkpoint", output)


# What can be wrong with the source.


def test_a_truncated_checkpoint_is_named_and_leaves_nothing(checkpoint: Path, output: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read, it may be truncated"):
        run_export(checkpoint, output)
    assert_nothing_left(output)


def test_a_truncated_gguf_file_is_named_and_leaves_nothing(tmp_path: Path, output: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: cannot be read, it may be truncated"):
        run_export(path, output)
    assert_nothing_left(output)


def test_an_unsupported_architecture_is_told_which_are_supported(checkpoint: Path, output: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"architectures": ["GemmaForCausalLM"]}))
    expected = r"not supported: GemmaForCausalLM\. Supported are Qwen2ForCausalLM and LlamaForCausalLM"
    with pytest.raises(CheckpointError, match=expected):
        run_export(checkpoint, output)
    assert_nothing_left(output)


def test_a_model_too_short_for_the_prompt_is_refused(output: Path, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "short", config_fields={"max_position_embeddings": 256})
    with pytest.raises(ExportError, match="does not fit this model, which has 256 positions"):
        run_export(tmp_path / "short", output)
    assert_nothing_left(output)


def test_an_unknown_prompt_variant_is_told_which_there_are(checkpoint: Path, output: Path) -> None:
    with pytest.raises(ExportError, match=r"no prompt variant 'x'; the variants are arch-router/model-card"):
        run_export(checkpoint, output, variant="x")
    assert_nothing_left(output)


# A graph that is wrong.


@pytest.mark.parametrize(
    ("precision", "tensor"),
    [
        *((precision, "model.layers.1.mlp.up_proj.weight") for precision in ("fp32", "fp16", "int8", "int4")),
        # So small an effect drowns in what 8 bits round off.
        *((precision, "model.layers.0.self_attn.k_proj.bias") for precision in ("fp32", "fp16")),
    ],
)
def test_a_graph_with_a_wrong_weight_is_refused_and_leaves_nothing(
    checkpoint: Path, output: Path, monkeypatch: pytest.MonkeyPatch, precision: PrecisionName, tensor: str
) -> None:
    _corrupt_while_building(monkeypatch, tensor)
    with pytest.raises(ExportError, match=rf"the relative error of its logits is .*, and {precision} allows"):
        run_export(checkpoint, output, precision=precision)
    assert_nothing_left(output)


def test_a_graph_that_gives_no_numbers_is_refused(
    checkpoint: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotANumber:
        def logits(self, case: ParityCase) -> list[np.ndarray]:
            return [np.full((1 + len(answer), len(case.candidates)), np.nan) for answer in case.answers]

    monkeypatch.setattr(exporting.GraphExporter, "open_graph", lambda *_: NotANumber())
    with pytest.raises(ExportError, match="the relative error of its logits is nan"):
        run_export(checkpoint, output)
    assert_nothing_left(output)


# A machine that gives out.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with less room than a tiny bundle takes."""
    mounted = tmp_path / "small-disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mounted)]
    if not Path("/bin/mount").exists() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system takes root")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(checkpoint: Path, small_disk: Path) -> None:
    with pytest.raises(ExportError, match=r"the disk of .*small-disk is full; nothing was kept"):
        run_export(checkpoint, small_disk / "bundle")
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_at_the_end_is_named(
    checkpoint: Path, output: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ExportError, match="is full; nothing was kept"):
        run_export(checkpoint, output)
    assert_nothing_left(output)


def test_a_killed_export_leaves_a_hidden_folder_that_the_next_one_removes(
    checkpoint: Path, output: Path
) -> None:
    killed_halfway = (
        "import os, signal\n"
        "from archroute.cli import main\n"
        "from archroute_export import exporting\n"
        "exporting.check_parity = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main(['export', {str(checkpoint)!r}, '--output', {str(output)!r}])\n"
    )
    killed = subprocess.run([sys.executable, "-c", killed_halfway], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    [partial] = output.parent.iterdir()
    assert partial.name.startswith(".bundle.partial-")
    assert not (partial / "manifest.json").exists()
    assert export_bundle(checkpoint, output).manifest.source.name == "tiny-model"
    assert list(output.parent.iterdir()) == [output]


def test_an_interrupted_export_leaves_nothing(
    checkpoint: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "check_parity", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_export(checkpoint, output)
    assert_nothing_left(output)


def _miss_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    _corrupt_while_building(monkeypatch, "model.norm.weight")


def _corrupt_while_building(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Reverse one tensor where the graph is built; the reference reads the checkpoint as it is."""
    build = exporting.GraphExporter.write_graph
    read = SafetensorsFolder.tensor

    def read_wrongly(checkpoint: Checkpoint, tensor: str) -> np.ndarray:
        values = read(checkpoint, tensor)  # type: ignore[arg-type]
        return values[::-1].copy() if tensor == name else values

    def build_wrongly(*arguments: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SafetensorsFolder, "tensor", read_wrongly)
            build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting.GraphExporter, "write_graph", build_wrongly)
