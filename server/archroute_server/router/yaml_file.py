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
        raise error_class(path, [_problem(node, reason) for node, reason in error.wrong]) from error


def _problem(node: yaml.Node, reason: str) -> Problem:
    return Problem(node.start_mark.line + 1, node.start_mark.column + 1, reason)


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
