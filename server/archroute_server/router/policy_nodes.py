"""A policies file as YAML nodes: each function reads one level of it.

Nodes rather than values, because only nodes know their line, and so that nothing is converted on the way:
`name: no` is refused instead of becoming False.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from archroute_server.router.errors import InvalidRequest, shorten
from archroute_server.router.policy import Policy, PolicySet

_STRING_TAG = "tag:yaml.org,2002:str"


class WrongNodes(Exception):
    """Nodes of the file, each with what is wrong with it."""

    def __init__(self, *wrong: tuple[yaml.Node, str]) -> None:
        self.wrong = wrong


@dataclass(frozen=True, slots=True, eq=False)
class NamedSet:
    """A policy set, and the node that names it."""

    name: yaml.Node
    policy_set: PolicySet


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A whole file: its policy sets, and the node that names the default one, if there is any."""

    root: yaml.Node
    sets: tuple[NamedSet, ...]
    default: yaml.Node | None


def read_document(root: yaml.Node) -> PolicyDocument:
    """Read the root of a file. Raises `WrongNodes`. Whether names are taken twice is not looked at."""
    entries = _mapping(root, "the file", required=("policy_sets",), optional=("default",))
    nodes = _sequence(entries["policy_sets"], "policy_sets")
    if not nodes:
        raise WrongNodes((entries["policy_sets"], "policy_sets is empty; give at least one policy set"))
    sets = tuple(_policy_set(node, f"policy_sets[{index}]") for index, node in enumerate(nodes))
    if "default" in entries:
        _string(entries["default"], "default")
    return PolicyDocument(root, sets, entries.get("default"))


def _policy_set(node: yaml.Node, where: str) -> NamedSet:
    entries = _mapping(node, where, required=("name", "policies"), optional=("default_policy",))
    name_node = entries["name"]
    name = _string(name_node, f"{where}.name")
    if not name:
        raise WrongNodes((name_node, f"{where}.name: is empty"))
    # Where each field was written, under the paths that the violations of a policy set use.
    written = {"name": name_node, "policies": entries["policies"]}
    default_policy = None
    if "default_policy" in entries:
        written["default_policy"] = entries["default_policy"]
        default_policy = _string(entries["default_policy"], f"{where}.default_policy")
    policies = []
    for index, policy_node in enumerate(_sequence(entries["policies"], f"{where}.policies")):
        path = f"policies[{index}]"
        written[path] = policy_node
        policies.append(_policy(policy_node, where, path, written))
    try:
        return NamedSet(name_node, PolicySet(name, tuple(policies), default_policy))
    except InvalidRequest as error:
        raise WrongNodes(
            *((written[violation.field], f"{where}.{violation}") for violation in error.violations)
        ) from error


def _policy(node: yaml.Node, where: str, path: str, written: dict[str, yaml.Node]) -> Policy:
    entries = _mapping(node, f"{where}.{path}", required=("name", "description"), optional=("models",))
    written.update({f"{path}.{key}": entry for key, entry in entries.items()})
    models = []
    if "models" in entries:
        for index, model in enumerate(_sequence(entries["models"], f"{where}.{path}.models")):
            written[f"{path}.models[{index}]"] = model
            models.append(_string(model, f"{where}.{path}.models[{index}]"))
    return Policy(
        _string(entries["name"], f"{where}.{path}.name"),
        _string(entries["description"], f"{where}.{path}.description"),
        tuple(models),
    )


# The shapes that nodes can have.


def _mapping(
    node: yaml.Node, where: str, *, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, yaml.Node]:
    known = (*required, *optional)
    expected = "with " + ", ".join(f"`{key}`" for key in known)
    if not isinstance(node, yaml.MappingNode):
        raise WrongNodes((node, f"{where} must be a mapping {expected}, not {_kind(node)}"))
    entries: dict[str, yaml.Node] = {}
    for key_node, value in node.value:
        key = _string(key_node, f"a key of {where}")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean `{close[0]}`?" if close else f"it is a mapping {expected}"
            raise WrongNodes((key_node, f"{where} has the unknown key `{shorten(key)}`; {advice}"))
        if key in entries:
            raise WrongNodes((key_node, f"{where} has the key `{key}` twice"))
        entries[key] = value
    for key in required:
        if key not in entries:
            raise WrongNodes((node, f"{where} has no `{key}`"))
    return entries


def _sequence(node: yaml.Node, where: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise WrongNodes((node, f"{where} must be a list, not {_kind(node)}"))
    return list(node.value)


def _string(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING_TAG:
        advice = "; put it in quotes" if isinstance(node, yaml.ScalarNode) and node.value else ""
        raise WrongNodes((node, f"{where} must be text, not {_kind(node)}{advice}"))
    return str(node.value)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if not node.value:
        return "empty"
    if node.tag == _STRING_TAG:
        return "text"
    return f"the {node.tag.rpartition(':')[2]} {shorten(node.value)}"
