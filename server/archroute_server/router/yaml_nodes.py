"""Nodes of a YAML file, and the shapes that they can have. `where` is a node's path, for the message.

Nodes rather than values, because only nodes know their line, and so that nothing is converted on the way:
`name: no` is refused instead of becoming False.
"""

import difflib
from collections.abc import Sequence

import yaml

from archroute_server.router.errors import shorten

_STRING_TAG = "tag:yaml.org,2002:str"


class WrongNodes(Exception):
    """Nodes of a file, each with what is wrong with it."""

    def __init__(self, *wrong: tuple[yaml.Node, str]) -> None:
        self.wrong = wrong


def mapping(
    node: yaml.Node, where: str, *, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> dict[str, yaml.Node]:
    """Return the entries of a mapping with these keys. Raises `WrongNodes`."""
    known = (*required, *optional)
    expected = "with " + ", ".join(f"`{key}`" for key in known)
    if not isinstance(node, yaml.MappingNode):
        raise WrongNodes((node, f"{where} must be a mapping {expected}, not {_kind(node)}"))
    entries: dict[str, yaml.Node] = {}
    for key_node, value in node.value:
        key = string(key_node, f"a key of {where}")
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


def sequence(node: yaml.Node, where: str) -> list[yaml.Node]:
    """Return the nodes of a list. Raises `WrongNodes`."""
    if not isinstance(node, yaml.SequenceNode):
        raise WrongNodes((node, f"{where} must be a list, not {_kind(node)}"))
    return list(node.value)


def string(node: yaml.Node, where: str) -> str:
    """Return the text of a node that YAML takes for text. Raises `WrongNodes`."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING_TAG:
        advice = "; put it in quotes" if isinstance(node, yaml.ScalarNode) and node.value else ""
        raise WrongNodes((node, f"{where} must be text, not {_kind(node)}{advice}"))
    return str(node.value)


def number(node: yaml.Node, where: str, *, minimum: float, maximum: float, whole: bool = False) -> float:
    """Return a number of this range. Raises `WrongNodes`."""
    tags = ("int",) if whole else ("int", "float")
    kind = "a whole number" if whole else "a number"
    wanted = f"{where} must be {kind} from {minimum:g} to {maximum:g}"
    if not isinstance(node, yaml.ScalarNode) or node.tag.rpartition(":")[2] not in tags:
        raise WrongNodes((node, f"{wanted}, not {_kind(node)}"))
    try:
        value = float(node.value)
    except ValueError:  # YAML has octal and sexagesimal numbers, which nobody means here
        value = float("nan")
    if not minimum <= value <= maximum:
        raise WrongNodes((node, f"{wanted}, not {shorten(node.value)}"))
    return value


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
