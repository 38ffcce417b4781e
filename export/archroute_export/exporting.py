"""The export: a checkpoint becomes a bundle."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from archroute_export.checkpoint.adapted import AdaptedCheckpoint
from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.open import EMBEDDED, open_adapter, open_checkpoint
from archroute_export.checkpoint.template import chat_frame
from archroute_export.digest import sha256_files
from archroute_export.errors import ExportError
from archroute_export.exporters.exporter import Exporter, ExporterName
from archroute_export.exporters.graph_exporter import GraphExporter
from archroute_export.exporters.optimum_exporter import OptimumExporter
from archroute_export.folder import check_target, whole_folder
from archroute_export.parity.case import ParityCase, fixed_cases
from archroute_export.parity.report import check_parity
from archroute_export.parity.self_test import SelfTestCases, record_self_test, self_test_cases
from archroute_export.progress import Advance, Stages
from archroute_export.smoothing.calibration import calibration_cases
from archroute_server.bundle.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    SCHEMA_VERSION,
    TOKENIZER_FILE,
    AdapterSource,
    FileDigest,
    Manifest,
    ModelDimensions,
    ParityReport,
    PrecisionName,
    PromptContract,
    SelfTest,
    Source,
)
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.frame import ChatFrame, PromptHere
from archroute_server.router.prompt import DEFAULT_VARIANT, PromptVariant, UnknownPromptVariant
from archroute_server.router.tokenizer import Tokenizer

# Parity prompts are a few hundred tokens; the models that are supported have thousands of positions.
_PARITY_BUDGET = 1024
# Both answers to a parity prompt stand behind it.
_ANSWER_ROOM = 64

_EXPORTERS: dict[ExporterName, Callable[[PrecisionName], Exporter]] = {
    "archroute": GraphExporter,
    "optimum": OptimumExporter,
}


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, where to, and how.

    `adapter` is a folder with an adapter to merge into the source, as `open_adapter` takes it. Without a
    `variant`, the prompt is the one that the adapter was trained on, or else the default.
    """

    source: str
    output: Path
    precision: PrecisionName
    variant: str | None
    replace: bool
    exporter: ExporterName = "archroute"
    adapter: str | None = None


def export(request: ExportRequest, stages: Stages) -> Manifest:
    """Write a bundle at `request.output`, or nothing.

    Raises `CheckpointError` for a source that cannot be read, and `ExportError` for an output that cannot
    be written and for a graph that does not compute what the checkpoint does.
    """
    check_target(request.output, replace=request.replace)
    exporter = _EXPORTERS[request.exporter](request.precision)
    adapter = None if request.adapter is None else open_adapter(request.adapter)
    variant = _variant(request.variant, adapter)
    # Read now, so that a broken file is known before hours of work.
    calibration = None if adapter is None else adapter.calibration
    # The hub shows bars of its own; pip is quiet.
    with stages.stage("Fetching the model") if request.source == EMBEDDED else nullcontext():
        base = open_checkpoint(request.source, announce=stages.say)
    checkpoint = base if adapter is None else AdaptedCheckpoint(base, adapter)
    exporter.check(checkpoint)
    frame = chat_frame(checkpoint)
    with stages.stage("Reading the checkpoint") as advance:
        checkpoint.compute_digest(advance)
    if adapter is not None and adapter.base_digest not in (None, base.digest):
        stages.say(
            f"{adapter.name} was trained on a base with the digest {adapter.base_digest}, but {base.name} "
            f"has {base.digest}: the same weights in another format, or another model"
        )
    with whole_folder(request.output, replace=request.replace) as folder:
        (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer_json(), encoding="utf-8")
        tokenizer = Tokenizer.from_file(folder / TOKENIZER_FILE)
        prompts = _fixed_prompts(checkpoint, variant, frame, tokenizer)
        exporter.write_graph(checkpoint, prompts.calibration, folder, stages)
        with stages.stage("Checking parity") as advance:
            graph = exporter.open_graph(folder / GRAPH_FILE)
            parity = check_parity(graph, checkpoint, prompts.parity, request.precision, advance)
        with stages.stage("Recording the self-test") as advance:
            self_test = record_self_test(graph, checkpoint, prompts.self_test, advance)
        with stages.stage("Computing digests") as advance:
            files = _digest_files(folder, advance)
        manifest = _manifest(checkpoint, request, variant, frame, files, parity, self_test)
        if calibration is not None:
            manifest = manifest.with_calibration(calibration)
        (folder / MANIFEST_FILE).write_bytes(manifest.encode())
    return manifest


def _variant(named: str | None, adapter: Adapter | None) -> PromptVariant:
    """Load the prompt variant that was named, or else the adapter's, or else the default."""
    trained = adapter.prompt if adapter is not None else None
    if adapter is not None and None not in (named, trained) and named != trained:
        raise ExportError(
            f"{adapter.name} was trained on the prompt {trained}, and would be asked with {named}: leave out "
            "--prompt, or export the base alone with --adapter none"
        )
    try:
        return PromptVariant.load(named or trained or DEFAULT_VARIANT)
    except UnknownPromptVariant as error:
        raise ExportError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _FixedPrompts:
    """The prompts that every checkpoint reads while it is exported."""

    calibration: list[ParityCase]
    parity: list[ParityCase]
    self_test: SelfTestCases


def _fixed_prompts(
    checkpoint: Checkpoint, variant: PromptVariant, frame: ChatFrame, tokenizer: Tokenizer
) -> _FixedPrompts:
    positions = checkpoint.shape.maximum_positions
    encoder = PromptEncoder(variant, frame, tokenizer, min(_PARITY_BUDGET, positions - _ANSWER_ROOM))
    try:
        return _FixedPrompts(
            calibration=calibration_cases(encoder, checkpoint.end_of_turn),
            parity=fixed_cases(encoder, checkpoint.end_of_turn),
            self_test=self_test_cases(encoder, checkpoint.end_of_turn),
        )
    except InvalidRequest as error:
        raise ExportError(
            f"{checkpoint.name}: the prompt {variant.name} does not fit this model, which has {positions} "
            f"positions: {error}"
        ) from error


def _digest_files(folder: Path, advance: Advance) -> dict[str, FileDigest]:
    paths = sorted(folder.iterdir())
    return {
        path.name: FileDigest(sha256=digest, bytes=path.stat().st_size)
        for path, digest in zip(paths, sha256_files(paths, advance), strict=True)
    }


def _manifest(
    checkpoint: Checkpoint,
    request: ExportRequest,
    variant: PromptVariant,
    frame: ChatFrame,
    files: dict[str, FileDigest],
    parity: ParityReport,
    self_test: SelfTest,
) -> Manifest:
    shape = checkpoint.shape
    return Manifest(
        schema_version=SCHEMA_VERSION,
        created_by=f"archroute {_own_version()}",
        exporter=request.exporter,
        source=_source(checkpoint),
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
            variant=variant.name,
            chat_frame=frame.to_json(),
            rendered_chat_frame=_rendered(frame),
            end_of_turn=checkpoint.end_of_turn,
        ),
        files=files,
        parity=parity,
        self_test=self_test,
    )


def _own_version() -> str:
    try:
        return version("archroute")
    except PackageNotFoundError:  # run from a source checkout that was not installed
        return "(not installed)"


def _source(checkpoint: Checkpoint) -> Source:
    adapter = None
    if isinstance(checkpoint, AdaptedCheckpoint):
        adapter = AdapterSource(name=checkpoint.adapter.title, digest=checkpoint.adapter.digest)
    return Source(name=checkpoint.title, kind=checkpoint.kind, digest=checkpoint.digest, adapter=adapter)


def _rendered(frame: ChatFrame) -> str:
    return "".join(
        "{prompt}" if isinstance(segment, PromptHere) else segment.text for segment in frame.segments
    )
