"""YAML files that people write, read so that each mistake is told with its place: see `yaml_nodes`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from archroute_server.router.yaml_nodes import WrongNodes

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """What is wrong and where. `line` and `column` count from 1; 0 if it concerns `path` as a whole."""

    path: Path
    line: int
    column: int
    reason: str

    @classmethod
    def at(cls, path: Path, node: yaml.Node, reason: str) -> "Problem":
        """Return what is wrong with a node."""
        return cls(path, node.start_mark.line + 1, node.start_mark.column + 1, reason)

    @property
    def place(self) -> str:
        """The file with line and column, as editors take it."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class YamlFileError(Exception):
    """Files that cannot be used, with every problem that was found. Each kind of file has its own."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        text = "\n".join(map(str, self.problems))
        # A quoted key may hold half of a surrogate pair, which nothing could print.
        super().__init__(text.encode(errors="backslashreplace").decode())


def read_yaml_file(
    path: Path, read: Callable[[yaml.Node], T], error_class: type[YamlFileError], *, needs: str
) -> T:
    """Read a file and return what `parse_yaml` makes of it. Raises `error_class`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise error_class([Problem(path, 0, 0, f"cannot be read: {error.strerror}")]) from error
    return parse_yaml(path, content, read, error_class, needs=needs)


def parse_yaml(
    path: Path,
    content: bytes,
    read: Callable[[yaml.Node], T],
    error_class: type[YamlFileError],
    *,
    needs: str,
) -> T:
    """Return what `read` makes of the root of a file's content. It raises `WrongNodes` for what is wrong.

    Raises `error_class` naming file, line and reason. `needs` is the key that no file can do without.
    """
    try:
        return read(_root(path, content, needs))
    except WrongNodes as error:
        raise error_class([Problem.at(path, *each) for each in error.wrong]) from error
    except _NoYaml as error:
        raise error_class([error.problem]) from error.__cause__


class _NoYaml(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _root(path: Path, content: bytes, needs: str) -> yaml.Node:
    text = _decode(path, content)
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line, column = _place(text, error.position)
        reason = f"holds the character U+{error.character:04X}, which YAML allows only as an escape"
        raise _NoYaml(Problem(path, line, column, reason)) from error
    except yaml.MarkedYAMLError as error:
        raise _NoYaml(_syntax_problem(path, error)) from error
    except RecursionError as error:
        raise _NoYaml(Problem(path, 0, 0, "is nested too deeply")) from error
    # PyYAML converts numbers of the syntax itself, such as that of the escape "\UFFFFFFFF", without a check.
    except (OverflowError, ValueError) as error:
        reason = f"is not valid YAML: it holds a number that is too large ({error})"
        raise _NoYaml(Problem(path, 0, 0, reason)) from error
    if root is None:
        raise _NoYaml(Problem(path, 0, 0, f"is empty; it needs `{needs}`"))
    return root


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _NoYaml(Problem(path, line, 1, "is not UTF-8 text")) from error


def _place(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _syntax_problem(path: Path, error: yaml.MarkedYAMLError) -> Problem:
    reason = "is not valid YAML: " + ", ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    return Problem(path, mark.line + 1, mark.column + 1, reason) if mark else Problem(path, 0, 0, reason)
