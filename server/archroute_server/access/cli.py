"""The subcommand `archroute token`. Imports nothing heavy: it is read to list the subcommands."""

import argparse
import json
import sys

from archroute.commands import Command, CommandError
from archroute_server.access.access_file import NAME_RULE, is_caller_name
from archroute_server.access.bearer_token import new_token, token_digest
from archroute_server.access.scope import Scope


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="who will hold it, as the log and the metrics shall say")
    parser.add_argument(
        "--scopes",
        nargs="+",
        metavar="SCOPE",
        choices=[scope.value for scope in Scope],
        default=[Scope.ROUTE.value],
        help=f"what it allows: {', '.join(Scope)} (default: {Scope.ROUTE})",
    )


def _run(arguments: argparse.Namespace) -> int:
    """Print the token alone to standard output, so that it can go into a file or a store of secrets."""
    name: str = arguments.name
    if not is_caller_name(name):
        raise CommandError(f"{name!r} is not a name for a token: {NAME_RULE}")
    token = new_token()
    scopes = ", ".join(dict.fromkeys(arguments.scopes))
    entry = f"  - {{name: {json.dumps(name)}, sha256: {json.dumps(token_digest(token))}, scopes: [{scopes}]}}"
    sys.stdout.write(f"{token}\n")
    sys.stderr.write(
        "The token is shown this once. Keep it as you keep a password.\n"
        "The server needs this line under `tokens:` of its access file:\n"
        f"{entry}\n"
    )
    return 0


command = Command(
    name="token",
    summary="Make a token for a caller, and the line of the server's access file for it.",
    extra=None,
    add_arguments=_add_arguments,
    run=_run,
)
