"""The access file: who may do what, in YAML.

    anonymous: [health]           # what callers without a token may do; nothing if left out
    limits:                       # of each caller, unless its token has some of its own; optional
      concurrent_requests: 32
      requests_per_second: 50
      burst: 100                  # requests at once after a pause; what a second allows if left out
    tokens:                       # `archroute token` makes one
      - name: gateway
        sha256: 5bb7b2f7b9bf1a0ae1a54c2bbab0f0c6d3fcd1bb5f3e8a9a30b0d9b3d2f5a6c1
        scopes: [route]
      - name: operator
        sha256: 1f8c5a4f6a9b0c2e3d4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978879600
        scopes: [read, admin, health, reflection]
        limits: {requests_per_second: 5}

It holds no secret: a token cannot be found by its SHA-256. See `bearer_token`.
"""

import re
from pathlib import Path

import yaml

from archroute_server.access.bearer_token import BearerToken
from archroute_server.access.limits import UNLIMITED, CallerLimits
from archroute_server.access.rules import AccessRules
from archroute_server.access.scope import Scope
from archroute_server.router.errors import shorten
from archroute_server.router.yaml_file import YamlFileError, read_yaml_file
from archroute_server.router.yaml_nodes import WrongNodes, mapping, number, sequence, string

MAX_TOKENS = 1000

NAME_RULE = "a letter, then letters, digits, `.`, `_` or `-`, 64 characters at most"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class AccessFileError(YamlFileError):
    """An access file that cannot be used, with what is wrong in it."""


def load_access_rules(path: Path) -> AccessRules:
    """Read an access file. Raises `AccessFileError` naming file, line and reason."""
    return read_yaml_file(path, _rules, AccessFileError, needs="tokens` or `anonymous")


def is_caller_name(name: str) -> bool:
    """Say whether a token may have this name; `NAME_RULE` tells a person."""
    return _NAME.fullmatch(name) is not None


def _rules(root: yaml.Node) -> AccessRules:
    entries = mapping(root, "the file", optional=("anonymous", "limits", "tokens"))
    limits = _limits(entries["limits"], "limits") if "limits" in entries else UNLIMITED
    anonymous = _scopes(entries["anonymous"], "anonymous") if "anonymous" in entries else frozenset()
    tokens = _tokens(entries["tokens"], limits) if "tokens" in entries else ()
    if not anonymous and not tokens:
        raise WrongNodes((root, "nobody may do anything; give `tokens`, or scopes to `anonymous`"))
    return AccessRules(anonymous, limits, tokens)


def _tokens(node: yaml.Node, limits: CallerLimits) -> tuple[BearerToken, ...]:
    nodes = sequence(node, "tokens")
    if len(nodes) > MAX_TOKENS:
        raise WrongNodes((nodes[MAX_TOKENS], f"tokens has {len(nodes)} entries; at most {MAX_TOKENS} can be"))
    # What was used already, and by which entry.
    taken: dict[tuple[str, str], str] = {}
    tokens = []
    for index, each in enumerate(nodes):
        where = f"tokens[{index}]"
        entries = mapping(each, where, required=("name", "sha256", "scopes"), optional=("limits",))
        token = BearerToken(
            _name(entries["name"], f"{where}.name"),
            _digest(entries["sha256"], f"{where}.sha256"),
            _scopes(entries["scopes"], f"{where}.scopes"),
            _limits(entries["limits"], f"{where}.limits") if "limits" in entries else limits,
        )
        for used in (("name", token.name), ("sha256", token.digest)):
            if used in taken:
                key = used[0]
                raise WrongNodes((entries[key], f"{where}.{key}: is that of {taken[used]} already"))
            taken[used] = where
        tokens.append(token)
    return tuple(tokens)


def _name(node: yaml.Node, where: str) -> str:
    name = string(node, where)
    if not is_caller_name(name):
        raise WrongNodes((node, f"{where}: is not {NAME_RULE}"))
    return name


def _digest(node: yaml.Node, where: str) -> str:
    # One of digits alone is a number to YAML.
    digest = node.value if isinstance(node, yaml.ScalarNode) else ""
    if not _DIGEST.fullmatch(digest):
        # Not quoted: it may be the token itself, put here by mistake.
        reason = "is not a SHA-256, which is 64 of the characters 0-9 and a-f; `archroute token` prints it"
        raise WrongNodes((node, f"{where}: {reason}"))
    return str(digest)


def _scopes(node: yaml.Node, where: str) -> frozenset[Scope]:
    known = ", ".join(f"`{scope}`" for scope in Scope)
    scopes = set()
    for each in sequence(node, where):
        name = string(each, where)
        try:
            scopes.add(Scope(name))
        except ValueError:
            reason = f"there is no scope {shorten(name)!r}; the scopes are {known}"
            raise WrongNodes((each, f"{where}: {reason}")) from None
    return frozenset(scopes)


def _limits(node: yaml.Node, where: str) -> CallerLimits:
    keys = ("concurrent_requests", "requests_per_second", "burst")
    entries = mapping(node, where, optional=keys)
    if "burst" in entries and "requests_per_second" not in entries:
        raise WrongNodes((entries["burst"], f"{where}.burst: has no meaning without `requests_per_second`"))
    whole = {
        key: int(number(entries[key], f"{where}.{key}", minimum=1, maximum=1_000_000, whole=True))
        for key in ("concurrent_requests", "burst")
        if key in entries
    }
    rate = None
    if "requests_per_second" in entries:
        path = f"{where}.requests_per_second"
        rate = number(entries["requests_per_second"], path, minimum=0.001, maximum=1_000_000)
    return CallerLimits(whole.get("concurrent_requests"), rate, whole.get("burst"))
