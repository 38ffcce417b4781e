"""Exporter: one way to make a graph of a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.parity.case import ParityCase
from archroute_export.parity.graph import GraphUnderTest
from archroute_export.progress import Stages

ExporterName = Literal["archroute", "optimum"]


class Exporter(Protocol):
    """One way to make a graph of a checkpoint, and to run it for the parity check."""

    @property
    def name(self) -> ExporterName:
        """What the manifest calls it."""

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise `ExportError` for a checkpoint that cannot be exported this way, before any work is done."""

    def write_graph(
        self, checkpoint: Checkpoint, calibration: Sequence[ParityCase], folder: Path, stages: Stages
    ) -> None:
        """Write the graph and its weights into `folder`, under the names that the manifest gives them.

        `calibration` are prompts to measure activations on, for a precision that quantizes them.
        """

    def open_graph(self, path: Path) -> GraphUnderTest:
        """Load a graph that `write_graph` wrote."""
