"""The export: a checkpoint becomes a bundle."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.open import open_checkpoint
from archroute_export.checkpoint.template import chat_frame
from archroute_export.exporter import Exporter, ExporterName
from archroute_export.folder import refuse_existing, whole_folder
from archroute_export.graph_exporter import GraphExporter
from archroute_export.optimum_exporter import OptimumExporter
from archroute_export.parity.case import fixed_cases
from archroute_export.parity.report import check_parity
from archroute_export.progress import Stages
from archroute_server.bundle.digest import digest_file
from archroute_server.bundle.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    SCHEMA_VERSION,
    TOKENIZER_FILE,
    Manifest,
    ModelDimensions,
    ParityReport,
    PrecisionName,
    PromptContract,
    Source,
)
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.frame import ChatFrame, PromptHere
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer

# Parity prompts are a few hundred tokens; the models that are supported have thousands of positions.
_PARITY_BUDGET = 1024

_EXPORTERS: dict[ExporterName, Callable[[PrecisionName], Exporter]] = {
    "archroute": GraphExporter,
    "optimum": OptimumExporter,
}


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, where to, and how."""

    source: str
    output: Path
    precision: PrecisionName
    variant: str
    replace: bool
    exporter: ExporterName = "archroute"


def export(request: ExportRequest, stages: Stages) -> Manifest:
    """Write a bundle at `request.output`, or nothing.

    Raises `CheckpointError` for a source that cannot be read, and `ExportError` for an output that cannot
    be written and for a graph that does not compute what the checkpoint does.
    """
    if not request.replace:
        refuse_existing(request.output)
    exporter = _EXPORTERS[request.exporter](request.precision)
    checkpoint = open_checkpoint(request.source, announce=stages.say)
    exporter.check(checkpoint)
    frame = chat_frame(checkpoint)
    variant = PromptVariant.load(request.variant)
    with stages.stage("Reading the checkpoint") as advance:
        checkpoint.compute_digest(advance)
    with whole_folder(request.output, replace=request.replace) as folder:
        (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer_json(), encoding="utf-8")
        exporter.write_graph(checkpoint, folder, stages)
        tokenizer = Tokenizer.from_file(folder / TOKENIZER_FILE)
        encoder = PromptEncoder(variant, frame, tokenizer, _PARITY_BUDGET)
        with stages.stage("Checking parity") as advance:
            cases = fixed_cases(encoder, checkpoint.end_of_turn)
            graph = exporter.open_graph(folder / GRAPH_FILE)
            parity = check_parity(graph, checkpoint, cases, request.precision, advance)
        manifest = _manifest(folder, checkpoint, request, frame, parity)
        (folder / MANIFEST_FILE).write_bytes(manifest.encode())
    return manifest


def _manifest(
    folder: Path, checkpoint: Checkpoint, request: ExportRequest, frame: ChatFrame, parity: ParityReport
) -> Manifest:
    shape = checkpoint.shape
    return Manifest(
        schema_version=SCHEMA_VERSION,
        created_by=f"archroute {version('archroute')}",
        exporter=request.exporter,
        source=Source(name=checkpoint.name, kind=checkpoint.kind, digest=checkpoint.digest),
        model=ModelDimensions(
            family=shape.family,
            layers=shape.layers,
            hidden_size=shape.hidden_size,
            attention_heads=shape.attention_heads,
            key_value_heads=shape.key_value_heads,
            head_size=shape.head_size,
            vocabulary_size=shape.vocabulary_size,
            maximum_positions=shape.maximum_positions,
        ),
        precision=request.precision,
        prompt=PromptContract(
            variant=request.variant,
            chat_frame=frame.to_json(),
            rendered_chat_frame=_rendered(frame),
            end_of_turn=checkpoint.end_of_turn,
        ),
        files={path.name: digest_file(path) for path in sorted(folder.iterdir())},
        parity=parity,
    )


def _rendered(frame: ChatFrame) -> str:
    return "".join(
        "{prompt}" if isinstance(segment, PromptHere) else segment.text for segment in frame.segments
    )
