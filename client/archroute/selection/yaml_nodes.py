"""Reads YAML as nodes rather than values: only nodes know their line, and nothing is converted on the way."""

import difflib
import math
from collections.abc import Sequence

import yaml

__all__ = ["WrongNodeError", "mapping", "number", "sequence", "text", "text_keys", "whole_number"]

_TAG = "tag:yaml.org,2002:"
_SHOWN = 40


class WrongNodeError(Exception):
    """A node of the file, with what is wrong with it."""

    def __init__(self, node: yaml.Node, reason: str) -> None:
        super().__init__(reason)
        self.line = node.start_mark.line + 1
        self.column = node.start_mark.column + 1


def mapping(
    node: yaml.Node, where: str, *, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> dict[str, yaml.Node]:
    """The values of a mapping with these keys, and no others."""
    known = (*required, *optional)
    entries: dict[str, yaml.Node] = {}
    for key_node, key, value in _pairs(node, where):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean `{close[0]}`?" if close else f"it may have {', '.join(known)}"
            raise WrongNodeError(key_node, f"{where} has the unknown key `{key[:_SHOWN]}`; {advice}")
        entries[key] = value
    for key in required:
        if key not in entries:
            raise WrongNodeError(node, f"{where} has no `{key}`")
    return entries


def text_keys(node: yaml.Node, where: str) -> dict[str, yaml.Node]:
    """The values of a mapping with any keys."""
    return {key: value for _, key, value in _pairs(node, where)}


def sequence(node: yaml.Node, where: str) -> list[yaml.Node]:
    """The entries of a list."""
    if not isinstance(node, yaml.SequenceNode):
        raise WrongNodeError(node, f"{where} must be a list, not {_kind(node)}")
    return list(node.value)


def text(node: yaml.Node, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
        advice = "; put it in quotes" if isinstance(node, yaml.ScalarNode) and node.value else ""
        raise WrongNodeError(node, f"{where} must be text, not {_kind(node)}{advice}")
    if not node.value:
        raise WrongNodeError(node, f"{where} is empty")
    return str(node.value)


def number(node: yaml.Node, where: str) -> float:
    """A number, 0 or more."""
    value = math.nan
    if isinstance(node, yaml.ScalarNode) and node.tag in (f"{_TAG}int", f"{_TAG}float"):
        try:
            value = float(node.value.replace("_", ""))
        except ValueError:  # hexadecimal, sexagesimal, .inf: numbers to YAML, and more likely a slip here
            value = math.nan
    if not 0 <= value < math.inf:
        raise WrongNodeError(node, f"{where} must be a number, 0 or more, not {_kind(node)}")
    return value


def whole_number(node: yaml.Node, where: str) -> int:
    """A whole number, 1 or more."""
    value = number(node, where)
    if value != int(value) or value < 1:
        raise WrongNodeError(node, f"{where} must be a whole number, 1 or more, not {_kind(node)}")
    return int(value)


def _pairs(node: yaml.Node, where: str) -> list[tuple[yaml.Node, str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise WrongNodeError(node, f"{where} must be a mapping, not {_kind(node)}")
    pairs: dict[str, tuple[yaml.Node, str, yaml.Node]] = {}
    for key_node, value in node.value:
        key = text(key_node, f"a key of {where}")
        if key in pairs:
            raise WrongNodeError(key_node, f"{where} has the key `{key[:_SHOWN]}` twice")
        pairs[key] = (key_node, key, value)
    return list(pairs.values())


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if not node.value:
        return "empty"
    if node.tag == f"{_TAG}str":
        return "text"
    return f"the {node.tag.rpartition(':')[2]} {node.value[:_SHOWN]}"
