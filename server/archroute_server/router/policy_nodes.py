"""A policies file as YAML nodes: each function reads one level of it."""

from dataclasses import dataclass

import yaml

from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.yaml_nodes import WrongNodes, mapping, sequence, string


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
    entries = mapping(root, "the file", required=("policy_sets",), optional=("default",))
    nodes = sequence(entries["policy_sets"], "policy_sets")
    if not nodes:
        raise WrongNodes((entries["policy_sets"], "policy_sets is empty; give at least one policy set"))
    sets = tuple(_policy_set(node, f"policy_sets[{index}]") for index, node in enumerate(nodes))
    if "default" in entries:
        string(entries["default"], "default")
    return PolicyDocument(root, sets, entries.get("default"))


def _policy_set(node: yaml.Node, where: str) -> NamedSet:
    entries = mapping(node, where, required=("name", "policies"), optional=("default_policy",))
    name_node = entries["name"]
    name = string(name_node, f"{where}.name")
    if not name:
        raise WrongNodes((name_node, f"{where}.name: is empty"))
    # Where each field was written, under the paths that the violations of a policy set use.
    written = {"name": name_node, "policies": entries["policies"]}
    default_policy = None
    if "default_policy" in entries:
        written["default_policy"] = entries["default_policy"]
        default_policy = string(entries["default_policy"], f"{where}.default_policy")
    policies = []
    for index, policy_node in enumerate(sequence(entries["policies"], f"{where}.policies")):
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
    entries = mapping(node, f"{where}.{path}", required=("name", "description"), optional=("models",))
    written.update({f"{path}.{key}": entry for key, entry in entries.items()})
    models = []
    if "models" in entries:
        for index, model in enumerate(sequence(entries["models"], f"{where}.{path}.models")):
            written[f"{path}.models[{index}]"] = model
            models.append(string(model, f"{where}.{path}.models[{index}]"))
    return Policy(
        string(entries["name"], f"{where}.{path}.name"),
        string(entries["description"], f"{where}.{path}.description"),
        tuple(models),
    )
