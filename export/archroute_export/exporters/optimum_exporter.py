"""OptimumExporter: the graph that optimum traces out of transformers, a second opinion on our own.

Its inputs are input_ids, attention_mask, position_ids and past_key_values.{layer}.key|value, its outputs
the logits of the whole vocabulary at every position and present.{layer}.key|value. Without an attention
bias it reads sequences and no trees.
"""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir

from archroute_export.checkpoint.adapted import AdaptedCheckpoint
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.errors import ExportError
from archroute_export.exporters.exporter import ExporterName
from archroute_export.parity.case import ParityCase
from archroute_export.parity.graph import LinearGraph
from archroute_export.progress import Stages
from archroute_server.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE, PrecisionName

_INSTALL = (
    "--exporter optimum needs the 'optimum' extra. It pins an older transformers, so give it an environment "
    "of its own: python -m venv .venv-optimum && .venv-optimum/bin/pip install 'archroute[export,optimum]'"
)


class OptimumExporter:
    """Has optimum export a safetensors checkpoint, in fp32; torch holds all weights in memory meanwhile."""

    name: ExporterName = "optimum"

    def __init__(self, precision: PrecisionName) -> None:
        """Raises `ExportError` for any precision but fp32."""
        if precision != "fp32":
            raise ExportError(
                f"--exporter optimum writes fp32 graphs only, not {precision}: leave out --precision, or "
                "--exporter"
            )

    def check(self, checkpoint: Checkpoint) -> None:
        """See `Exporter.check`: it takes no GGUF files and no adapters, and the extra must be there."""
        _folder(checkpoint)
        _import_main_export()

    def write_graph(
        self, checkpoint: Checkpoint, calibration: Sequence[ParityCase], folder: Path, stages: Stages
    ) -> None:
        """See `Exporter.write_graph`."""
        main_export = _import_main_export()
        source = _folder(checkpoint)
        # optimum writes a configuration and a tokenizer besides, which are no part of a bundle.
        scratch = Path(tempfile.mkdtemp(prefix="optimum-", dir=folder))
        # Tracing warns of every branch in the Python code of the model, for people who wrote that model.
        with stages.stage("Tracing with optimum"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                main_export(
                    str(source),
                    output=scratch,
                    task="text-generation-with-past",
                    dtype="fp32",
                    do_validation=False,
                    local_files_only=True,
                )
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of transformers
                    raise
                raise ExportError(f"{checkpoint.name}: optimum cannot export it: {error}") from error
        with stages.stage("Writing the weights") as advance:
            ir.save(
                ir.load(scratch / "model.onnx"),
                folder / GRAPH_FILE,
                external_data=WEIGHTS_FILE,
                callback=lambda _, info: advance(info.index, info.total),
            )
        shutil.rmtree(scratch)

    def open_graph(self, path: Path) -> LinearGraph:
        """See `Exporter.open_graph`."""
        return LinearGraph(path)


def _folder(checkpoint: Checkpoint) -> Path:
    if isinstance(checkpoint, AdaptedCheckpoint):
        raise ExportError(
            f"{checkpoint.adapter.name}: --exporter optimum merges no adapters; save the merged model with "
            "PEFT's merge_and_unload and name its folder, or leave out --exporter"
        )
    if not isinstance(checkpoint, SafetensorsFolder):
        raise ExportError(
            f"{checkpoint.name}: --exporter optimum reads no GGUF files; name the original checkpoint, a "
            "folder or a Hugging Face id, or leave out --exporter"
        )
    return checkpoint.folder


def _import_main_export() -> Callable[..., None]:
    try:
        from optimum.exporters.onnx import main_export
    except ModuleNotFoundError as error:
        raise ExportError(f"{_INSTALL} (there is no module {error.name!r})") from error
    run: Callable[..., None] = main_export
    return run
