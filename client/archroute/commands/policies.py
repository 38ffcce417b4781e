"""`archroute policies`: checks, lists, shows, stores and deletes policy sets of a server."""

import argparse
import os
import sys
from pathlib import Path

import yaml

from archroute.commands import Command, CommandError
from archroute.commands.policy_set_file import PolicySetOfFile, read_policy_sets
from archroute.commands.route import ADDRESS_VARIABLE, TIMEOUT
from archroute.endpoint import DEFAULT_ADDRESS
from archroute.errors import ArchrouteError
from archroute.policy import PolicySet
from archroute.router import Router
from archroute.validation import Severity, Validation

__all__ = ["command"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    validate = _add_action(
        actions, "validate", _validate, "say what is wrong with a file, and what is doubtful"
    )
    put = _add_action(actions, "put", _put, "store the policy sets of a file on the server")
    for action in (validate, put):
        action.add_argument("file", metavar="FILE", type=Path, help="a policies file")
        action.add_argument("--policy-set", metavar="NAME", help="this set of the file alone")
    delete = _add_action(actions, "delete", _delete, "remove a policy set from the server's store")
    delete.add_argument("name", metavar="NAME", help="which one")
    for action in (put, delete):
        action.add_argument(
            "--if-revision",
            metavar="REVISION",
            help="only if this is the set's revision now, as `list` shows it; '' if there must be none yet",
        )
    _add_action(actions, "list", _list, "name the policy sets of the server")
    get = _add_action(actions, "get", _get, "show a policy set of the server, as a policies file")
    get.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="which one (default: the default one)"
    )


def _add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, act: object, summary: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(act=act)
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        default=os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS,
        help=f"the server (default: %(default)s; the environment variable {ADDRESS_VARIABLE} sets it too)",
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    try:
        with Router(arguments.address, timeout=TIMEOUT) as router:
            status: int = arguments.act(router, arguments)
    except ArchrouteError as error:
        raise CommandError(str(error)) from error
    return status


def _validate(router: Router, arguments: argparse.Namespace) -> int:
    """Prints each finding as a compiler does, and a line for each set. Fails if there are errors."""
    usable = True
    for each in read_policy_sets(arguments.file, arguments.policy_set):
        validation = router.validate_policy_set(
            each.policies, name=each.name, default_policy=each.default_policy
        )
        for finding in validation.findings:
            line, column = each.place(finding.field)
            place = f"{arguments.file}:{line}:{column}"
            print(
                f"{place}: {finding.severity.value}: {finding.field} {finding.description} [{finding.code}]"
            )
        print(_verdict(each, validation))
        usable = usable and validation.usable
    return 0 if usable else 1


def _verdict(each: PolicySetOfFile, validation: Validation) -> str:
    errors = sum(finding.severity is Severity.ERROR for finding in validation.findings)
    warnings = len(validation.findings) - errors
    if errors:
        return f"{each.name}: {_count(errors, 'error')}"
    return (
        f"{each.name}: can be used, {_count(warnings, 'warning')}, {validation.prompt_tokens} of "
        f"{validation.max_prompt_tokens} tokens of a prompt, {validation.revision}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _put(router: Router, arguments: argparse.Namespace) -> int:
    sets = read_policy_sets(arguments.file, arguments.policy_set)
    if arguments.if_revision is not None and len(sets) > 1:
        raise CommandError(
            f"--if-revision is for one policy set, and {arguments.file} has {len(sets)}; "
            "pick one with --policy-set"
        )
    for each in sets:
        stored = router.put_policy_set(
            each.name,
            each.policies,
            default_policy=each.default_policy,
            if_revision=arguments.if_revision,
        )
        print(f"{stored.name}: stored, {stored.revision}")
    return 0


def _delete(router: Router, arguments: argparse.Namespace) -> int:
    router.delete_policy_set(arguments.name, if_revision=arguments.if_revision)
    print(f"{arguments.name}: deleted")
    return 0


def _list(router: Router, arguments: argparse.Namespace) -> int:
    for each in router.list_policy_sets():
        marks = ["store" if each.stored else "file", *(["default"] if each.is_default else [])]
        print(f"{each.name}  {each.policy_count} policies  {', '.join(marks)}  {each.revision}")
    return 0


def _get(router: Router, arguments: argparse.Namespace) -> int:
    policy_set = router.get_policy_set(arguments.name)
    print(f"# {policy_set.revision}")
    yaml.safe_dump(_document(policy_set), sys.stdout, sort_keys=False, allow_unicode=True)
    return 0


def _document(policy_set: PolicySet) -> dict[str, object]:
    entries: dict[str, object] = {"name": policy_set.name}
    if policy_set.default_policy is not None:
        entries["default_policy"] = policy_set.default_policy
    entries["policies"] = [
        {"name": each.name, "description": each.description, "models": list(each.models)}
        for each in policy_set.policies
    ]
    return {"policy_sets": [entries]}


command = Command(
    name="policies",
    summary="Check, list, show, store and delete policy sets of a server.",
    extra=None,
    add_arguments=_add_arguments,
    run=_run,
)
