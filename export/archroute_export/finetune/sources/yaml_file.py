"""YAML files as nodes that know their file and line, so that every complaint can name them."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from archroute_export.finetune.sources.errors import SourceError

_STRING_TAG = "tag:yaml.org,2002:str"
# libyaml reads these files ten times faster than Python does; not every build of PyYAML has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Node:
    """A value of a YAML file. `where` is how errors call it, such as `policies[2].name`."""

    path: Path
    where: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """The line at which the value begins, from 1."""
        return int(self.node.start_mark.line) + 1

    def error(self, reason: str) -> SourceError:
        """Return an error that names the place of this value."""
        return SourceError(self.path, f"{self.where} {reason}", line=self.line)

    def mapping(self, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, "Node"]:
        """Return the values under their keys. Raises `SourceError` for unknown, repeated and missing keys."""
        known = (*required, *optional)
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"must be a mapping with {_listed(known)}, not {self._kind()}")
        entries: dict[str, Node] = {}
        for key_node, value in self.node.value:
            key = Node(self.path, f"a key of {self.where}", key_node).text()
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                advice = f"did you mean `{close[0]}`?" if close else f"it has {_listed(known)}"
                raise Node(self.path, self.where, key_node).error(f"has the unknown key `{key}`; {advice}")
            if key in entries:
                raise Node(self.path, self.where, key_node).error(f"has the key `{key}` twice")
            entries[key] = Node(self.path, f"{self.where}.{key}" if self.where != _ROOT else key, value)
        for key in required:
            if key not in entries:
                raise self.error(f"has no `{key}`")
        return entries

    def entry(self, known: Sequence[str], otherwise: str) -> tuple[str, "Node"]:
        """Return key and value of a mapping with one key. Raises `SourceError`, else with `otherwise`."""
        entries = self.mapping(optional=known)
        if len(entries) != 1:
            raise self.error(otherwise)
        (entry,) = entries.items()
        return entry

    def items(self) -> list["Node"]:
        """Return the items of a list that is not empty."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"must be a list, not {self._kind()}")
        if not self.node.value:
            raise self.error("is empty")
        return [Node(self.path, f"{self.where}[{index}]", item) for index, item in enumerate(self.node.value)]

    def is_scalar(self) -> bool:
        """Say whether this is neither a mapping nor a list."""
        return isinstance(self.node, yaml.ScalarNode)

    def is_mapping(self) -> bool:
        """Say whether this has keys."""
        return isinstance(self.node, yaml.MappingNode)

    def text(self) -> str:
        """Return a text that is not blank."""
        if self.node.tag != _STRING_TAG:
            advice = "; put it in quotes" if self.is_scalar() and self.node.value else ""
            raise self.error(f"must be text, not {self._kind()}{advice}")
        text = str(self.node.value).strip()
        if not text:
            raise self.error("is empty")
        return text

    def texts(self) -> tuple[str, ...]:
        """Return the texts of a list."""
        return tuple(item.text() for item in self.items())

    def whole_number(self) -> int:
        """Return a whole number that is not negative."""
        value = self.node.value if isinstance(self.node, yaml.ScalarNode) else ""
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise self.error(f"must be a whole number, not {self._kind()}")
        return int(value)

    def _kind(self) -> str:
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        if not self.node.value:
            return "empty"
        return (
            "text"
            if self.node.tag == _STRING_TAG
            else f"the {self.node.tag.rpartition(':')[2]} {self.node.value}"
        )


_ROOT = "the file"
# How many keys an error lists at most.
_LISTED = 12


def read_yaml(path: Path) -> Node:
    """Read a YAML file. Raises `SourceError` if it cannot be read, is empty, or is not YAML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        root = yaml.compose(text, Loader=_LOADER)
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(path, "is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = "is not valid YAML: " + ", ".join(filter(None, (error.context, error.problem)))
        raise SourceError(path, reason, line=mark.line + 1 if mark else 0) from error
    except yaml.YAMLError as error:
        raise SourceError(path, f"is not valid YAML: {error}") from error
    if root is None:
        raise SourceError(path, "is empty")
    return Node(path, _ROOT, root)


def yaml_files(path: Path) -> Iterator[Path]:
    """Yield a file itself, or the YAML files of a folder by name. Raises `SourceError` if there are none."""
    if not path.is_dir():
        yield path
        return
    found = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if not found:
        raise SourceError(path, "holds no .yaml files")
    yield from found


def _listed(keys: Sequence[str]) -> str:
    listed = ", ".join(f"`{key}`" for key in keys[:_LISTED])
    return listed if len(keys) <= _LISTED else f"{listed} and {len(keys) - _LISTED} others"
