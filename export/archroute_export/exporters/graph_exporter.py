"""GraphExporter: builds the graph node by node, in any precision and without torch."""

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.tensors import Tensors
from archroute_export.exporters.exporter import ExporterName
from archroute_export.graph.concatenated_cache import concatenate_cache
from archroute_export.graph.decoder import PRECISIONS, build_decoder
from archroute_export.parity.case import ParityCase
from archroute_export.parity.graph import TreeGraph
from archroute_export.progress import Stages
from archroute_export.smoothing.calibration import calibrate
from archroute_export.smoothing.smoothed import SmoothedTensors
from archroute_server.bundle.manifest import (
    GRAPH_FILE,
    TENSORRT_GRAPH_FILE,
    WEIGHTS_FILE,
    PrecisionName,
)


class GraphExporter:
    """Builds the graph of `graph.decoder`; the weights are streamed from the checkpoint to the disk."""

    name: ExporterName = "archroute"

    def __init__(self, precision: PrecisionName) -> None:
        self._precision = precision

    def check(self, checkpoint: Checkpoint) -> None:
        """See `Exporter.check`; whatever can be opened can be built."""

    def write_graph(
        self, checkpoint: Checkpoint, calibration: Sequence[ParityCase], folder: Path, stages: Stages
    ) -> None:
        """See `Exporter.write_graph`."""
        precision = PRECISIONS[self._precision]
        tensors: Tensors = checkpoint
        if precision.quantizes_activations:
            with stages.stage("Calibrating") as advance:
                tensors = SmoothedTensors(checkpoint, calibrate(checkpoint, calibration, advance))
        model = build_decoder(tensors, precision)
        with stages.stage("Writing the weights") as advance:
            ir.save(
                model,
                folder / GRAPH_FILE,
                external_data=WEIGHTS_FILE,
                callback=lambda _, info: advance(info.index, info.total),
            )
        if self._precision in ("fp16", "fp32"):
            # Read again, so that it refers to the weights that were written.
            model = ir.load(folder / GRAPH_FILE)
            concatenate_cache(model)
            ir.save(model, folder / TENSORRT_GRAPH_FILE)

    def open_graph(self, path: Path) -> TreeGraph:
        """See `Exporter.open_graph`."""
        return TreeGraph(path)
