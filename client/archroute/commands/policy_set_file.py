"""Reads the policy sets of a policies file with their places, for the commands that send them to a server.

The file is as in `archroute.commands.policies_file`. Only its shape is checked here: the server judges the
policies, and `PolicySetOfFile.place` says where what it names stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from archroute.commands import CommandError
from archroute.policy import Policy
from archroute.selection.yaml_nodes import WrongNodeError, mapping, sequence, text

__all__ = ["PolicySetOfFile", "read_policy_sets"]


@dataclass(frozen=True, slots=True)
class PolicySetOfFile:
    """One policy set of a file."""

    name: str
    policies: tuple[Policy, ...]
    default_policy: str | None
    places: Mapping[str, yaml.Node]
    """Where each field stands, by paths such as `policies[2].name`; the set as a whole is ``."""

    def place(self, field: str) -> tuple[int, int]:
        """The line and column of a field, counted from 1, or those of what it would be part of."""
        while field not in self.places:
            field = field.rpartition(".")[0]
        mark = self.places[field].start_mark
        return mark.line + 1, mark.column + 1


def read_policy_sets(path: Path, only: str | None = None) -> list[PolicySetOfFile]:
    """The policy sets of a file, or the one called `only`.

    Raises:
        CommandError: The file cannot be read or has another shape, or there is no such set in it.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8: see byte {error.start}") from None
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is not YAML: {error}") from error
    if root is None:
        raise CommandError(f"{path} is empty; it needs `policy_sets`")
    try:
        entries = mapping(root, "the file", required=("policy_sets",), optional=("default",))
        nodes = sequence(entries["policy_sets"], "policy_sets")
        sets = [_policy_set(node, f"policy_sets[{index}]") for index, node in enumerate(nodes)]
    except WrongNodeError as error:
        raise CommandError(f"{path}:{error.line}:{error.column}: {error}") from None
    if only is not None:
        known = ", ".join(each.name for each in sets)
        sets = [each for each in sets if each.name == only]
        if not sets:
            raise CommandError(f"{path} has no policy set {only!r}; it has {known}")
    if not sets:
        raise CommandError(f"{path} has no policy sets")
    return sets


def _policy_set(node: yaml.Node, where: str) -> PolicySetOfFile:
    entries = mapping(node, where, required=("name", "policies"), optional=("default_policy",))
    places = {"": node, **entries}
    policies = tuple(
        _policy(each, f"policies[{index}]", where, places)
        for index, each in enumerate(sequence(entries["policies"], f"{where}.policies"))
    )
    default = entries.get("default_policy")
    return PolicySetOfFile(
        text(entries["name"], f"{where}.name"),
        policies,
        None if default is None else text(default, f"{where}.default_policy"),
        places,
    )


def _policy(node: yaml.Node, field: str, where: str, places: dict[str, yaml.Node]) -> Policy:
    entries = mapping(node, f"{where}.{field}", required=("name", "description"), optional=("models",))
    places[field] = node
    places.update({f"{field}.{key}": value for key, value in entries.items()})
    models = []
    for index, model in enumerate(sequence(entries["models"], "models") if "models" in entries else ()):
        places[f"{field}.models[{index}]"] = model
        models.append(text(model, f"{where}.{field}.models[{index}]"))
    return Policy(
        text(entries["name"], f"{where}.{field}.name"),
        text(entries["description"], f"{where}.{field}.description"),
        tuple(models),
    )
