"""`archroute route`: decides one conversation and shows the decision."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from archroute.commands import Command, CommandError
from archroute.commands.connection import add_connection_arguments, tls_of, token_of
from archroute.commands.policies_file import read_policies
from archroute.commands.report import as_document, as_report
from archroute.decision import Decision, Outcome
from archroute.endpoint import DEFAULT_ADDRESS
from archroute.errors import ArchrouteError
from archroute.message import Conversation
from archroute.router import Router

__all__ = ["command"]

ADDRESS_VARIABLE = "ARCHROUTE_ADDRESS"

# More than `Router` waits: a person at a terminal rather waits for a cold server than tries again.
TIMEOUT = 30.0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    conversation = parser.add_mutually_exclusive_group(required=True)
    conversation.add_argument("text", nargs="?", help="what the user says; - reads standard input")
    conversation.add_argument(
        "--messages",
        metavar="FILE",
        help='a conversation instead: a JSON list of {"role", "content"} messages; - reads standard input',
    )
    parser.add_argument(
        "--policies",
        metavar="FILE",
        help="send the policies of this YAML file, instead of using those of the server",
    )
    parser.add_argument(
        "--policy-set",
        metavar="NAME",
        help="which policy set, of the server or of --policies, if not its default",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        default=os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS,
        help=f"the server (default: %(default)s; the environment variable {ADDRESS_VARIABLE} sets it too)",
    )
    add_connection_arguments(parser)
    parser.add_argument(
        "--top-k",
        metavar="N",
        type=_whole_number,
        default=0,
        help="show only the N best of the ranking",
    )
    parser.add_argument(
        "--min-probability",
        metavar="P",
        type=_number("from 0 to 1", lambda value: 0 <= value <= 1),
        default=0.0,
        help="name no policy that is less probable than this, from 0 to 1",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_number("above 0", lambda value: value > 0),
        default=TIMEOUT,
        help="how long to wait for the answer (default: %(default)g)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the decision as one JSON document",
    )


def _run(arguments: argparse.Namespace) -> int:
    conversation = _conversation(arguments)
    try:
        decision = _decide(conversation, arguments)
    except ArchrouteError as error:
        raise CommandError(str(error)) from error
    if decision.outcome is Outcome.UNRECOGNIZED:
        raise CommandError("the server gave an outcome that this version does not know; upgrade archroute")
    print(as_document(decision) if arguments.json else as_report(decision, sys.stdout))
    return 0


def _decide(conversation: Conversation, arguments: argparse.Namespace) -> Decision:
    policy_set, policies = arguments.policy_set, None
    if arguments.policies is not None:
        policies, policy_set = read_policies(Path(arguments.policies), policy_set), None
    with Router(
        arguments.address, timeout=arguments.timeout, tls=tls_of(arguments), token=token_of(arguments)
    ) as router:
        return router.route(
            conversation,
            policy_set=policy_set,
            policies=policies,
            top_k=arguments.top_k,
            min_probability=arguments.min_probability,
        )


def _conversation(arguments: argparse.Namespace) -> Conversation:
    if arguments.messages is None:
        text: str = arguments.text
        return _read("-") if text == "-" else text
    source: str = arguments.messages
    try:
        messages: list[Mapping[str, object]] = json.loads(_read(source))
    except json.JSONDecodeError as error:
        # Without its cause, which holds the conversation.
        place = f"line {error.lineno}, column {error.colno}"
        raise CommandError(f"{_name(source)} is not JSON: {error.msg} at {place}") from None
    if not isinstance(messages, list):
        raise CommandError(f'{_name(source)} must hold a JSON list of {{"role", "content"}} messages')
    return messages


def _read(source: str) -> str:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return data.decode()
    except OSError as error:
        raise CommandError(f"cannot read {_name(source)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        # Likewise.
        raise CommandError(f"{_name(source)} is not UTF-8: see byte {error.start}") from None


def _name(source: str) -> str:
    return "standard input" if source == "-" else source


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 or a whole number above it")
    return int(text)


def _number(range_in_words: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {range_in_words}")
        return value

    return parse


command = Command(
    name="route",
    summary="Decide which policy and models a conversation calls for.",
    extra=None,
    add_arguments=_add_arguments,
    run=_run,
)
