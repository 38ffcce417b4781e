"""What each peer makes of the checkpoint, by the means that its project offers for it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from archroute_export.checkpoint.embedded import fetch
from peers.conversion.gguf_file import write_quantized
from peers.results import BENCH

Convert = Callable[[Path, Path], None]

PROMPT = "archroute/compact-quoted"


def make(files: str, folder: Path) -> None:
    """Make a peer's files out of the checkpoint in `folder`, whole or not at all.

    Raises whatever the peer's own means raise, `CalledProcessError` for those that are commands.
    """
    target = folder / files
    unfinished = folder / f".unfinished-{files}"
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    unfinished.unlink(missing_ok=True)
    _CONVERSIONS[files](folder / "checkpoint", unfinished)
    unfinished.replace(target)


def _run(*command: str) -> None:
    # All is on disk; nobody should go looking for it on a hub.
    path = os.pathsep.join(filter(None, (str(BENCH), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)


def _export(precision: str, checkpoint: Path, target: Path) -> None:
    export = [sys.executable, "-m", "archroute", "export", str(checkpoint), "--output", str(target)]
    _run(*export, "--precision", precision, "--prompt", PROMPT)


def _genai(checkpoint: Path, target: Path) -> None:
    """Run the model builder with its defaults for int4 on a CPU."""
    builder = [sys.executable, "-m", "peers.conversion.genai_builder", "-p", "int4", "-e", "cpu"]
    with tempfile.TemporaryDirectory() as cache:
        _run(*builder, "-i", str(checkpoint), "-o", str(target), "-c", cache)


def _optimum(kind: str, checkpoint: Path, target: Path) -> None:
    """Run the exporter of optimum that has the first arguments `kind`."""
    command = [str(Path(sys.executable).with_name("optimum-cli")), "export", *kind.split()]
    _run(*command, "--model", str(checkpoint), "--task", "text-generation-with-past", str(target))


def _quantize(kind: str, checkpoint: Path, target: Path) -> None:
    # Every shape has the embedded model's tokenizer.
    write_quantized(checkpoint, target, kind, vocabulary=fetch())


_CONVERSIONS: Mapping[str, Convert] = {
    "archroute-int8": partial(_export, "int8"),
    "archroute-fp32": partial(_export, "fp32"),
    "genai-int4": _genai,
    "openvino-int8": partial(_optimum, "openvino --weight-format int8"),
    "optimum-fp32": partial(_optimum, "onnx"),
    "q4_0.gguf": partial(_quantize, "Q4_0"),
    "q8_0.gguf": partial(_quantize, "Q8_0"),
}
