"""`archroute eval`: how well does a router decide?"""

import argparse

from archroute.commands import Command, CommandError
from archroute.commands.connection import add_connection_arguments, tls_of, token_of
from archroute_evaluation.cli.arguments import add_loading, file, seconds, share, whole_number

TIMEOUT = 60.0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", type=file, help="JSON Lines of examples with the right policy"
    )
    router = parser.add_mutually_exclusive_group()
    router.add_argument(
        "--model",
        metavar="DIR",
        type=file,
        help="the bundle to evaluate, in this process; without it and --server, the embedded model's",
    )
    router.add_argument("--server", metavar="ADDRESS", help="the running server to evaluate, as HOST:PORT")
    add_connection_arguments(parser)
    add_loading(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT,
        help="how long a request to --server may take (default: %(default)g)",
    )
    parser.add_argument(
        "--flips",
        metavar="N",
        type=whole_number(0),
        default=0,
        help="ask again N times with the policies in another order, and N times with the descriptions that "
        "an example has under 'rewordings', and count the answers that change (default: not measured)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=whole_number(0),
        default=0,
        help="what the orders of --flips follow from (default: %(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", type=file, help="write every figure as JSON")
    parser.add_argument("--html", metavar="FILE", type=file, help="write a report with plots")
    parser.add_argument(
        "--errors", metavar="FILE", type=file, help="write each wrong answer as a line of JSON, with its line"
    )
    parser.add_argument(
        "--show-text", action="store_true", help="put the conversations into --html and --errors as well"
    )
    parser.add_argument(
        "--min-accuracy",
        metavar="X",
        type=share,
        help="exit with status 1 if fewer examples than this are answered right; one that fails is not",
    )


def _run(arguments: argparse.Namespace) -> int:
    from archroute_evaluation.asking.loaded_bundle import Loading
    from archroute_evaluation.errors import EvaluationError
    from archroute_evaluation.evaluating import EvaluationRequest, evaluate_file

    request = EvaluationRequest(
        file=arguments.file,
        model=arguments.model,
        server=arguments.server,
        tls=tls_of(arguments),
        token=token_of(arguments),
        loading=Loading(arguments.provider, arguments.threads, arguments.max_prompt_tokens),
        timeout=arguments.timeout,
        concurrency=arguments.concurrency,
        flips=arguments.flips,
        seed=arguments.seed,
        json=arguments.json,
        html=arguments.html,
        errors=arguments.errors,
        show_text=arguments.show_text,
    )
    try:
        evaluation = evaluate_file(request)
    except EvaluationError as error:
        raise CommandError(str(error)) from error
    wanted = arguments.min_accuracy
    reached = evaluation.accuracy_with_failures
    if wanted is not None and reached.hits < wanted * reached.total:
        raise CommandError(
            f"{reached.hits} of {reached.total} examples were answered right, fewer than --min-accuracy "
            f"{wanted:g} asks for"
        )
    return 0


command = Command(
    name="eval",
    summary="Measure how well a bundle or a server decides, on examples.",
    extra="eval",
    add_arguments=_add_arguments,
    run=_run,
)
