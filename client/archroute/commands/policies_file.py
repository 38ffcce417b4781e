"""Reads the policies file that a server reads too, to send its policies with a request.

    default: llm-gateway        # needed with several sets
    policy_sets:
      - name: llm-gateway
        policies:
          - name: code_generation
            description: Writing new code from a description
            models: [large-coder, small-coder]

Only the shape is checked here: the server judges the policies.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

from archroute.commands import CommandError

__all__ = ["read_policies"]


def read_policies(path: Path, name: str | None) -> list[Mapping[str, object]]:
    """The policies of the set `name`, or of the file's default set.

    Raises:
        CommandError: The file cannot be read or has another shape, or there is no such set in it.
    """
    sets, default = _read_sets(path)
    chosen = name or default or (next(iter(sets)) if len(sets) == 1 else None)
    known = ", ".join(sets)
    if chosen is None:
        raise CommandError(
            f"{path} has several policy sets and no default; pick one with --policy-set: {known}"
        )
    if chosen not in sets:
        raise CommandError(f"{path} has no policy set {chosen!r}; it has {known}")
    return sets[chosen]


def _read_sets(path: Path) -> tuple[dict[str, list[Mapping[str, object]]], str | None]:
    document = _load(path)
    if not isinstance(document, Mapping) or not isinstance(document.get("policy_sets"), list):
        raise CommandError(f"{path} must have a list `policy_sets` at its top")
    if not document["policy_sets"]:
        raise CommandError(f"{path} has no policy sets")
    sets: dict[str, list[Mapping[str, object]]] = {}
    for index, each in enumerate(document["policy_sets"]):
        where = f"{path}: policy_sets[{index}]"
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            raise CommandError(f"{where} must have a `name` that is a string")
        if not isinstance(each.get("policies"), list):
            raise CommandError(f"{where} must have a list `policies`")
        if each["name"] in sets:
            raise CommandError(f"{where} has the name of an earlier set, {each['name']!r}")
        sets[each["name"]] = each["policies"]
    default = document.get("default")
    if default is not None and not isinstance(default, str):
        raise CommandError(f"{path}: default must be the name of a policy set")
    return sets, default


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    # ValueError: a date that is none, such as 2026-99-99, which PyYAML takes for one by its looks.
    except (yaml.YAMLError, ValueError) as error:
        raise CommandError(f"{path} is not YAML: {error}") from error
