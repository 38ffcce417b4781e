import argparse
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from archroute.commands import CommandError
from archroute_export import cli
from archroute_export.checkpoint.open import EMBEDDED
from archroute_export.exporters.exporter import ExporterName
from archroute_export.exporting import ExportRequest
from archroute_export.graph.decoder import PRECISIONS
from archroute_server.bundle import manifest
from archroute_server.router.prompt import DEFAULT_VARIANT, VARIANTS
from support.checkpoints import write_tiny_checkpoint


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.command.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_names_it_repeats_are_those_of_the_rooms() -> None:
    assert cli.PRECISION_NAMES == get_args(manifest.PrecisionName) == tuple(PRECISIONS)
    assert cli.PROMPT_NAMES == VARIANTS
    assert cli.PROMPT_NAMES[0] == DEFAULT_VARIANT
    assert tuple(cli.DEFAULT_PRECISIONS) == get_args(ExporterName)
    assert cli.EMBEDDED == EMBEDDED


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from archroute.cli import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'onnx_ir', 'onnxruntime', 'tokenizers', 'gguf'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "precision"),
    [
        ((), "int8"),
        (("--precision", "fp16"), "fp16"),
        (("--exporter", "optimum"), "fp32"),
        (("--exporter", "optimum", "--precision", "int8"), "int8"),
    ],
)
def test_the_precision_depends_on_the_exporter(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], precision: str
) -> None:
    requests: list[ExportRequest] = []

    def keep(request: ExportRequest, *_: object) -> None:
        requests.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("archroute_export.exporting.export", keep)
    with pytest.raises(KeyboardInterrupt):
        cli.command.run(parse("model", "--output", "bundle", *arguments))
    assert requests[0].precision == precision


@pytest.mark.parametrize(
    ("source", "arguments", "adapter"),
    [
        ("model", (), None),
        ("model", ("--adapter", "mine"), "mine"),
        ("model", ("--adapter", "embedded"), "embedded"),
        ("model", ("--adapter", "none"), None),
        ("embedded", (), "embedded"),
        ("embedded", ("--adapter", "mine"), "mine"),
        ("embedded", ("--adapter", "none"), None),
        ("./embedded", (), None),
    ],
)
def test_the_embedded_model_comes_with_its_adapter(
    monkeypatch: pytest.MonkeyPatch, source: str, arguments: tuple[str, ...], adapter: str | None
) -> None:
    requests: list[ExportRequest] = []

    def keep(request: ExportRequest, *_: object) -> None:
        requests.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("archroute_export.exporting.export", keep)
    with pytest.raises(KeyboardInterrupt):
        cli.command.run(parse(source, "--output", "bundle", *arguments))
    assert requests[0].adapter == adapter


def test_the_prompt_is_left_open_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[ExportRequest] = []

    def keep(request: ExportRequest, *_: object) -> None:
        requests.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("archroute_export.exporting.export", keep)
    for arguments in ((), ("--adapter", "mine", "--prompt", "archroute/compact")):
        with pytest.raises(KeyboardInterrupt):
            cli.command.run(parse("model", "--output", "bundle", *arguments))
    assert [(request.adapter, request.variant) for request in requests] == [
        (None, None),
        ("mine", "archroute/compact"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing/here/at/all",), "there is no such file or folder"),
        (("FOLDER", "--adapter", "nothing/here"), "nothing/here: there is no such folder. Name the one"),
        (("FOLDER", "--adapter", ""), "no adapter is named"),
        (("FOLDER", "--exporter", "optimum", "--precision", "int8"), "fp32 graphs only, not int8"),
    ],
)
def test_what_goes_wrong_is_one_message(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        cli.command.run(parse(*arguments, "--output", str(tmp_path / "out")))
    assert list(tmp_path.iterdir()) == []


def test_optimum_that_is_not_installed_is_named_with_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_checkpoint(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "optimum.exporters.onnx", None)
    arguments = parse(str(tmp_path / "model"), "--output", str(tmp_path / "out"), "--exporter", "optimum")
    with pytest.raises(CommandError, match=r"needs the 'optimum' extra.*an environment of its own") as caught:
        cli.command.run(arguments)
    assert "pip install 'archroute[export,optimum]'" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_optimum_reads_no_gguf(tmp_path: Path) -> None:
    from support.gguf_checkpoints import write_tiny_gguf

    write_tiny_gguf(tmp_path / "tiny.gguf")
    arguments = parse(str(tmp_path / "tiny.gguf"), "--output", str(tmp_path / "out"), "--exporter", "optimum")
    with pytest.raises(CommandError, match=r"tiny\.gguf: --exporter optimum reads no GGUF files"):
        cli.command.run(arguments)
