"""`archroute examples`: labelled requests become the files that `archroute finetune` and `eval` read."""

import argparse
from pathlib import Path

from archroute.commands import Command, CommandError
from archroute_export.finetune.arguments import positive

DEFAULT_SETS = 2600


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser("fetch", help="download the public data sets, CLINC150 and SGD")
    fetch.add_argument("--output", metavar="DIR", type=Path, required=True, help="gets clinc150/ and sgd/")
    for name, title in (("clinc150", "CLINC150"), ("sgd", "Schema-Guided Dialogue")):
        fetch.add_argument(
            f"--{name}-from", metavar="URL", help=f"a copy of the repository of {title} (default: GitHub's)"
        )
    _add_build(actions.add_parser("build", help="turn labelled requests into training and test files"))


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="where to write the files")
    parser.add_argument(
        "--requests",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="policies and requests in YAML, as in data/gateway: a file or a folder; may be repeated",
    )
    parser.add_argument("--clinc150", metavar="DIR", type=Path, help="the folder of CLINC150")
    parser.add_argument("--sgd", metavar="DIR", type=Path, help="the folder of Schema-Guided Dialogue")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=Path("data"),
        help="where clinc150/policies.yaml, sgd/policies.yaml and splits.yaml are (default: data)",
    )
    parser.add_argument(
        "--splits",
        metavar="FILE",
        type=Path,
        help="the domains that are kept for validation and tests (default: splits.yaml of --data)",
    )
    parser.add_argument(
        "--sets",
        metavar="N",
        type=positive,
        default=DEFAULT_SETS,
        help=f"how many policy sets to train on, each with 5 requests (default: {DEFAULT_SETS})",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is drawn (default: 0)")


def _run(arguments: argparse.Namespace) -> int:
    from archroute_export.errors import ExportError

    try:
        return _fetch(arguments) if arguments.action == "fetch" else _build(arguments)
    except ExportError as error:
        raise CommandError(str(error)) from error


def _fetch(arguments: argparse.Namespace) -> int:
    from archroute_export.finetune.sources import fetch
    from archroute_export.progress import Stages

    stages = Stages()
    clinc150, sgd = arguments.output / "clinc150", arguments.output / "sgd"
    with stages.stage("Fetching CLINC150") as progress:
        fetch.fetch_clinc150(clinc150, arguments.clinc150_from or fetch.CLINC150_URL, progress)
    with stages.stage("Fetching SGD") as progress:
        fetch.fetch_sgd(sgd, arguments.sgd_from or fetch.SGD_URL, progress)
    stages.say(f"{clinc150}, {sgd}: fetched; their licences are in ATTRIBUTION.txt")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    from archroute_export.finetune.examples.build import build_files
    from archroute_export.finetune.examples.split_file import read_split_rules
    from archroute_export.finetune.sources.clinc150 import read_clinc150
    from archroute_export.finetune.sources.own_requests import read_own_requests
    from archroute_export.finetune.sources.sgd import read_sgd
    from archroute_export.progress import Stages

    stages = Stages()
    with stages.stage("Reading the requests"):
        sources = [read_own_requests(path) for path in arguments.requests]
        if arguments.clinc150:
            sources.append(read_clinc150(arguments.clinc150, arguments.data / "clinc150" / "policies.yaml"))
        if arguments.sgd:
            sources.append(read_sgd(arguments.sgd, arguments.data / "sgd" / "policies.yaml"))
        if not sources:
            raise CommandError("no requests: name some with --requests, --clinc150 or --sgd")
        rules = read_split_rules(arguments.splits or arguments.data / "splits.yaml", sources)
    with stages.stage("Building examples") as progress:
        files = build_files(
            sources, rules, arguments.output, sets=arguments.sets, seed=arguments.seed, progress=progress
        )
    for file in files:
        stages.say(f"{file.path}: {file.examples} examples")
    return 0


command = Command(
    name="examples",
    summary="Turn labelled requests into examples to fine-tune and evaluate a router with.",
    extra="export",
    add_arguments=_add_arguments,
    run=_run,
)
