"""`archroute calibrate`: how sure is the router really?"""

import argparse

from archroute.commands import Command, CommandError
from archroute_evaluation.cli.arguments import add_loading, file, share

PRECISION = 0.95


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        type=file,
        nargs="+",
        help="JSON Lines of examples with the right policy, that the model was not trained on",
    )
    parser.add_argument(
        "--model", metavar="DIR", type=file, required=True, help="the bundle, whose manifest is rewritten"
    )
    parser.add_argument(
        "--precision",
        metavar="X",
        type=share,
        default=PRECISION,
        help="the share of right answers that the proposed minimum probability is to give, from 0 to 1 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=file,
        help="write the calibration to this file too; as calibration.json beside an adapter, an export with "
        "the adapter takes it over",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be found, and leave the bundle as it is"
    )
    add_loading(parser)


def _run(arguments: argparse.Namespace) -> int:
    from archroute_evaluation.asking.loaded_bundle import Loading
    from archroute_evaluation.calibrating import CalibrationRequest, calibrate
    from archroute_evaluation.errors import EvaluationError

    request = CalibrationRequest(
        files=tuple(arguments.files),
        model=arguments.model,
        loading=Loading(arguments.provider, arguments.threads, arguments.max_prompt_tokens),
        precision=arguments.precision,
        concurrency=arguments.concurrency,
        write=not arguments.dry_run,
        copy=arguments.json,
    )
    try:
        calibrate(request)
    except EvaluationError as error:
        raise CommandError(str(error)) from error
    return 0


command = Command(
    name="calibrate",
    summary="Fit how sure a bundle says it is to how often it is right.",
    extra="eval",
    add_arguments=_add_arguments,
    run=_run,
)
