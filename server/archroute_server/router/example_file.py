"""Files of routing examples: JSON Lines, one example a line.

    {"policies": [{"name": "code_generation", "description": "Writing new code"}, ...],
     "messages": [{"role": "user", "content": "a bash loop over all csv files"}, ...],
     "policy": "code_generation",                  the right answer; "other" if no policy fits
     "language": "en",                             optional
     "tags": {"source": "gateway"},                optional; text to text
     "rewordings": {"code_generation": ["Programs that do not exist yet", ...]}}    optional

Blank lines are skipped. Consecutive lines with the same policies share one tuple of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from archroute_server.router.errors import InvalidRequest, shorten
from archroute_server.router.example import Example
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.unicode_text import has_lone_surrogate
from archroute_server.router.whole_file import write_lines

_REQUIRED = ("policies", "messages", "policy")
_OPTIONAL = ("language", "tags", "rewordings")


class ExampleFileError(Exception):
    """A file of examples that cannot be used; the message names the file, the line, and the reason.

    `line` counts from 1, and is 0 if the file as a whole is wrong.
    """

    def __init__(self, path: Path, line: int, reason: str) -> None:
        self.path = path
        self.line = line
        # A quoted field may hold half of a surrogate pair, which nothing could print.
        self.reason = reason = reason.encode(errors="backslashreplace").decode()
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


def read_examples(path: Path) -> list[Example]:
    """Read a whole file. Raises `ExampleFileError`, also for a file without examples."""
    return list(iterate_examples(path))


def iterate_examples(path: Path) -> Iterator[Example]:
    """Read a file line by line, as `read_examples` does, for files that are too large to hold."""
    return (example for _, example in numbered_examples(path))


def numbered_examples(path: Path) -> Iterator[tuple[int, Example]]:
    """Read a file line by line, as `iterate_examples` does; each line with its number, from 1."""
    shared = _SharedPolicies()
    empty = True
    try:
        with path.open("rb") as file:
            for number, content in enumerate(file, start=1):
                if not content.strip():
                    continue
                empty = False
                try:
                    example = _example(_decode(content, first=number == 1), shared)
                except _WrongLine as error:
                    raise ExampleFileError(path, number, str(error)) from error
                yield number, example
    except OSError as error:
        raise ExampleFileError(path, 0, f"cannot be read: {error.strerror}") from error
    if empty:
        raise ExampleFileError(path, 0, "holds no examples; each line is one, as a JSON object")


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write a file whole or not at all, and return how many examples it holds. Raises `OSError`."""
    return write_lines(path, map(format_example, examples))


def format_example(example: Example) -> str:
    """Return an example's line, without the line's end."""
    entry: dict[str, Any] = {
        "policies": [{"name": policy.name, "description": policy.description} for policy in example.policies],
        "messages": [{"role": message.role, "content": message.text} for message in example.messages],
        "policy": example.expected,
    }
    if example.language:
        entry["language"] = example.language
    if example.tags:
        entry["tags"] = dict(example.tags)
    if example.rewordings:
        entry["rewordings"] = {name: list(wordings) for name, wordings in example.rewordings.items()}
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


class _WrongLine(Exception):
    """What is wrong with a line. Never quotes the conversation."""


class _SharedPolicies:
    """Builds and checks the policies of a line, once for consecutive lines that have the same ones."""

    def __init__(self) -> None:
        self._entries: object = None
        self._policies: tuple[Policy, ...] = ()

    def of(self, entries: object) -> tuple[Policy, ...]:
        if entries != self._entries:
            self._policies = _policies(entries)
            self._entries = entries
        return self._policies


def _decode(content: bytes, *, first: bool) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError as error:
        raise _WrongLine(f"is not UTF-8 text at byte {error.start + 1}") from error
    except RecursionError as error:
        raise _WrongLine("is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise _WrongLine(f"is not JSON: {error.msg} at character {error.colno}") from error
    except ValueError as error:
        raise _WrongLine("holds a number of more digits than can be read") from error
    return _mapping(value, "the line", _REQUIRED, _OPTIONAL)


def _example(entry: dict[str, Any], shared: _SharedPolicies) -> Example:
    policies = shared.of(entry["policies"])
    messages = tuple(
        _message(message, f"messages[{index}]")
        for index, message in enumerate(_list(entry["messages"], "messages"))
    )
    tags = entry.get("tags", {})
    if not isinstance(tags, dict):
        raise _WrongLine(f"tags must be an object, not {_kind(tags)}")
    try:
        return Example(
            policies=policies,
            messages=messages,
            expected=_text(entry["policy"], "policy"),
            language=_text(entry.get("language", ""), "language"),
            tags={
                _text(key, "a key of tags"): _text(value, f"tags.{shorten(key)}")
                for key, value in tags.items()
            },
            rewordings=_rewordings(entry.get("rewordings", {})),
        )
    except ValueError as error:
        raise _WrongLine(str(error)) from error


def _policies(entries: object) -> tuple[Policy, ...]:
    policies = []
    for index, entry in enumerate(_list(entries, "policies")):
        where = f"policies[{index}]"
        fields = _mapping(entry, where, ("name", "description"), ())
        policies.append(
            Policy(
                _text(fields["name"], f"{where}.name"), _text(fields["description"], f"{where}.description")
            )
        )
    try:
        return PolicySet("", tuple(policies)).policies
    except InvalidRequest as error:
        raise _WrongLine(str(error)) from error


def _rewordings(entries: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(entries, dict):
        raise _WrongLine(f"rewordings must be an object, not {_kind(entries)}")
    return {
        name: tuple(
            _wording(text, f"rewordings.{shorten(name)}[{index}]")
            for index, text in enumerate(_list(wordings, f"rewordings.{shorten(name)}"))
        )
        for name, wordings in entries.items()
    }


def _wording(text: object, where: str) -> str:
    """Check what stands for a policy's description."""
    description = _text(text, where)
    try:
        PolicySet("", (Policy("reworded", description),))
    except InvalidRequest as error:
        raise _WrongLine(f"{where} {error.violations[0].description}") from error
    return description


def _message(entry: object, where: str) -> Message:
    fields = _mapping(entry, where, ("role", "content"), ())
    role = _text(fields["role"], f"{where}.role")
    text = _text(fields["content"], f"{where}.content")
    try:
        return Message(Role(role), text)
    except ValueError as error:
        known = ", ".join(Role)
        raise _WrongLine(f"{where}.role is {shorten(role)!r}; it must be one of {known}") from error


def _mapping(
    value: object, where: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _WrongLine(f"{where} must be an object, not {_kind(value)}")
    for key in required:
        if key not in value:
            raise _WrongLine(f"{where} has no {key!r}")
    for key in value:
        if key not in required and key not in optional:
            known = ", ".join(map(repr, (*required, *optional)))
            raise _WrongLine(f"{where} has the unknown field {shorten(key)!r}; the fields are {known}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongLine(f"{where} must be a list, not {_kind(value)}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _WrongLine(f"{where} must be text, not {_kind(value)}")
    if has_lone_surrogate(value):
        raise _WrongLine(f"{where} is not valid Unicode: it holds half of a surrogate pair")
    return value


def _kind(value: object) -> str:
    kinds: Mapping[type, str] = {
        dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number",
        float: "a number", type(None): "null",
    }  # fmt: skip
    return kinds[type(value)]
