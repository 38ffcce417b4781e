"""The policies file: the policy sets of a server, in YAML.

    default: llm-gateway          # needed only if there are several sets
    policy_sets:
      - name: llm-gateway
        default_policy: code_generation       # what is answered if there is no time to decide; optional
        policies:
          - name: code_generation
            description: Writing new functions, classes or scripts from a description
            models: [openai/gpt-5.1, anthropic/claude-sonnet-4.5]     # preferred one first; optional

Every mistake is told with its place: see `yaml_file`.
"""

from pathlib import Path

import yaml

from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_sets import PolicySets
from archroute_server.router.yaml_file import (
    WrongNodes,
    YamlFileError,
    mapping,
    read_yaml_file,
    sequence,
    string,
)


class PolicyFileError(YamlFileError):
    """A policies file that cannot be used, with every problem that was found in it."""


def load_policy_sets(path: Path) -> PolicySets:
    """Read a policies file. Raises `PolicyFileError` naming file, line and reason."""
    return read_yaml_file(path, _policy_sets, PolicyFileError, needs="policy_sets")


# The nodes. Each function reads one level of the file.


def _policy_sets(root: yaml.Node) -> PolicySets:
    entries = mapping(root, "the file", required=("policy_sets",), optional=("default",))
    nodes = sequence(entries["policy_sets"], "policy_sets")
    if not nodes:
        raise WrongNodes((entries["policy_sets"], "policy_sets is empty; give at least one policy set"))
    sets: dict[str, PolicySet] = {}
    for index, node in enumerate(nodes):
        name_node, policy_set = _policy_set(node, f"policy_sets[{index}]")
        if policy_set.name in sets:
            raise WrongNodes((name_node, f"policy_sets[{index}].name: {policy_set.name!r} is already taken"))
        sets[policy_set.name] = policy_set
    names = ", ".join(map(repr, sets))
    if "default" not in entries:
        if len(sets) > 1:
            reason = f"holds several policy sets, so `default` must name one of them: {names}"
            raise WrongNodes((root, reason))
        return PolicySets(sets.values())
    default = string(entries["default"], "default")
    if default not in sets:
        raise WrongNodes((entries["default"], f"default: {default!r} is not among the sets {names}"))
    return PolicySets(sets.values(), default)


def _policy_set(node: yaml.Node, where: str) -> tuple[yaml.Node, PolicySet]:
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
        return name_node, PolicySet(name, tuple(policies), default_policy)
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
