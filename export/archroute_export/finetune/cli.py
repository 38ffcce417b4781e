"""`archroute finetune`: labelled examples become an adapter that teaches a checkpoint to route."""

import argparse
from pathlib import Path

from archroute.commands import Command, CommandError
from archroute_export.finetune.arguments import positive

# Repeats what the prompt room defines, so that `--help` loads nothing; a test compares.
DEFAULT_PROMPT = "archroute/compact-quoted"
PRECISIONS = ("auto", "fp32", "bf16")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        metavar="SOURCE",
        required=True,
        help="the checkpoint to start from, named as for 'archroute export'",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        type=Path,
        nargs="+",
        required=True,
        help="examples to learn, as JSON Lines; 'archroute examples build' makes them from labelled requests",
    )
    parser.add_argument(
        "--validation",
        metavar="FILE",
        type=Path,
        nargs="*",
        default=[],
        help="examples to measure the adapter on once it is trained",
    )
    parser.add_argument(
        "--output",
        metavar="ADAPTER",
        type=Path,
        required=True,
        help="the folder for the adapter; one that holds an interrupted run is gone on with",
    )
    parser.add_argument(
        "--prompt", default=DEFAULT_PROMPT, help="the prompt variant to learn (default: %(default)s)"
    )
    parser.add_argument(
        "--start",
        metavar="ADAPTER",
        help="train this adapter further, with the rank that it has: a folder, or 'embedded' for the one "
        "that comes with archroute (default: begin a new one)",
    )
    parser.add_argument(
        "--epochs", type=positive, default=1, help="how often each example is read (default: 1)"
    )
    parser.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="end after so many minutes of training, with the learning rate at zero by then; an interrupted "
        "run may be gone on with under another limit (default: read all examples)",
    )
    parser.add_argument("--rank", type=positive, default=8, help="rank of the adapter (default: 8)")
    parser.add_argument(
        "--learning-rate", type=float, default=1e-3, help="the highest learning rate (default: 0.001)"
    )
    parser.add_argument(
        "--rows-per-step",
        type=positive,
        default=4,
        help="policy sets in an update, each with up to 32 conversations (default: 4)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the order of the examples (default: 0)")
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, or auto: cuda if there is one (default: auto)"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="how the base is held: bf16 where the device multiplies it fast, else fp32 (default: auto)",
    )
    parser.add_argument(
        "--force", action="store_true", help="throw away the adapter or the interrupted run at --output"
    )


def _run(arguments: argparse.Namespace) -> int:
    from archroute_export.checkpoint.errors import CheckpointError
    from archroute_export.errors import ExportError
    from archroute_export.finetune.training.machine import choose_machine
    from archroute_export.finetune.training.run import TrainingRequest, train
    from archroute_export.finetune.training.settings import TrainingSettings
    from archroute_export.progress import Stages

    stages = Stages()
    try:
        request = TrainingRequest(
            base=arguments.base,
            data=arguments.data,
            validation=arguments.validation,
            output=arguments.output,
            settings=TrainingSettings(
                variant=arguments.prompt,
                rank=arguments.rank,
                alpha=2 * arguments.rank,
                learning_rate=arguments.learning_rate,
                epochs=arguments.epochs,
                rows_per_step=arguments.rows_per_step,
                seed=arguments.seed,
            ),
            machine=choose_machine(arguments.device, arguments.precision),
            replace=arguments.force,
            start=arguments.start,
            minutes=arguments.minutes,
        )
        score = train(request, stages)
    except (CheckpointError, ExportError) as error:
        raise CommandError(str(error)) from error
    stages.say(f"{request.output}: adapter for {request.base}, prompt {request.settings.variant}")
    if score:
        stages.say(
            f"Right on {score.accuracy:.1%} of {score.examples} validation examples, loss {score.loss:.3f}"
        )
    return 0


command = Command(
    name="finetune",
    summary="Teach a checkpoint to route, from labelled examples.",
    extra="train",
    add_arguments=_add_arguments,
    run=_run,
)
