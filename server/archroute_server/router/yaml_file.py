"""YAML files that people write: read node by node, so that each mistake is told with its place.

The files are read as YAML nodes rather than values, because only nodes know their line, and so that nothing
is converted on the way: `name: no` is refused instead of becoming False.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from archroute_server.router.errors import shorten

T = TypeVar("T")

_STRING_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Problem:
    """What is wrong and where. `line` and `column` count from 1; 0 if it concerns the file as a whole."""

    line: int
    column: int
    reason: str


class YamlFileError(Exception):
    """A file that cannot be used, with every problem that was found in it. Each kind of file has its own."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        text = "\n".join(self._describe(problem) for problem in self.problems)
        # A quoted key may hold half of a surrogate pair, which nothing could print.
        super().__init__(text.encode(errors="backslashreplace").decode())

    def _describe(self, problem: Problem) -> str:
        place = f"{self.path}:{problem.line}:{problem.column}" if problem.line else str(self.path)
        return f"{place}: {problem.reason}"


class WrongNodes(Exception):
    """Nodes of the file, each with what is wrong with it."""

    def __init__(self, *wrong: tuple[yaml.Node, str]) -> None:
        self.problems = [
            Problem(node.start_mark.line + 1, node.start_mark.column + 1, reason) for node, reason in wrong
        ]


def read_yaml_file(
    path: Path, read: Callable[[yaml.Node], T], error_class: type[YamlFileError], *, needs: str
) -> T:
    """Return what `read` makes of the file's root. It raises `WrongNodes` for what is wrong.

    Raises `error_class` naming file, line and reason. `needs` is the key that no file can do without.
    """
    text = _read_text(path, error_class)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line, column = _place(text, error.position)
        reason = f"holds the character U+{error.character:04X}, which YAML allows only as an escape"
        raise error_class(path, [Problem(line, column, reason)]) from error
    except yaml.MarkedYAMLError as error:
        raise error_class(path, [_syntax_problem(error)]) from error
    except RecursionError as error:
        raise error_class(path, [Problem(0, 0, "is nested too deeply")]) from error
    # PyYAML converts numbers of the syntax itself, such as that of the escape "\UFFFFFFFF", without a check.
    except (OverflowError, ValueError) as error:
        reason = f"is not valid YAML: it holds a number that is too large ({error})"
        raise error_class(path, [Problem(0, 0, reason)]) from error
    if root is None:
        raise error_class(path, [Problem(0, 0, f"is empty; it needs `{needs}`")])
    try:
        return read(root)
    except WrongNodes as error:
        raise error_class(path, error.problems) from error


def _read_text(path: Path, error_class: type[YamlFileError]) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise error_class(path, [Problem(0, 0, f"cannot be read: {error.strerror}")]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise error_class(path, [Problem(line, 1, "is not UTF-8 text")]) from error


def _place(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    reason = "is not valid YAML: " + ", ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    return Problem(mark.line + 1, mark.column + 1, reason) if mark else Problem(0, 0, reason)


# The shapes that nodes can have. `where` is the node's path, for the message.


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
