"""The policies files: the policy sets of a server, in YAML.

    default: llm-gateway          # needed only if there are several sets
    policy_sets:
      - name: llm-gateway
        default_policy: code_generation       # what is answered if there is no time to decide; optional
        policies:
          - name: code_generation
            description: Writing new functions, classes or scripts from a description
            models: [openai/gpt-5.1, anthropic/claude-sonnet-4.5]     # preferred one first; optional

In a folder, every `.yaml` and `.yml` file is one. Their sets are held together: each name may be taken once,
and one of the files names the default.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from archroute_server.router.policy_nodes import NamedSet, PolicyDocument, read_document
from archroute_server.router.policy_sets import PolicySets
from archroute_server.router.yaml_file import Problem, YamlFileError, parse_yaml

SUFFIXES = (".yaml", ".yml")

Contents = Mapping[Path, bytes]
"""What stands in each policies file, in the order in which they are read."""


class PolicyFileError(YamlFileError):
    """Policies files that cannot be used, with every problem that was found in them."""


@dataclass(frozen=True)
class PlacedPolicySets:
    """What policies files say, and where."""

    sets: PolicySets
    places: Mapping[str, str]
    """Where each set is named, as `file:line:column`."""


def load_policy_sets(path: Path) -> PolicySets:
    """Read a policies file, or those of a folder. Raises `PolicyFileError` naming file, line and reason."""
    return parse_policy_sets(path, read_contents(path)).sets


def read_contents(path: Path) -> Contents:
    """Read the policies file, or those of the folder, as they are. Raises `PolicyFileError`."""
    current = path
    try:
        contents = {}
        for current in _policy_files(path):
            contents[current] = current.read_bytes()
    except OSError as error:
        problem = Problem(current, 0, 0, f"cannot be read: {error.strerror}")
        raise PolicyFileError([problem]) from error
    if not contents:
        reason = f"is a folder without policies files, whose names end with {' or '.join(SUFFIXES)}"
        raise PolicyFileError([Problem(path, 0, 0, reason)])
    return contents


def parse_policy_sets(path: Path, contents: Contents, stored: Collection[str] = ()) -> PlacedPolicySets:
    """Make policy sets of what was read from `path`. Raises `PolicyFileError`.

    `stored` are names that no file may take, since sets of a store have them.
    """
    documents: dict[Path, PolicyDocument] = {}
    problems: list[Problem] = []
    for file, content in contents.items():
        try:
            documents[file] = parse_yaml(file, content, read_document, PolicyFileError, needs="policy_sets")
        except PolicyFileError as error:
            problems += error.problems
    if not problems:
        problems += _conflicts(path, documents)
        problems += [
            Problem.at(
                file, each.name, f"the policy store has a set {each.policy_set.name!r}; rename one of them"
            )
            for file, each in _named(documents)
            if each.policy_set.name in stored
        ]
    if problems:
        raise PolicyFileError(problems)
    named = list(_named(documents))
    default = next((str(node.value) for _, node in _defaults(documents)), "")
    return PlacedPolicySets(
        PolicySets([each.policy_set for _, each in named], default),
        {each.policy_set.name: Problem.at(file, each.name, "").place for file, each in named},
    )


def _policy_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        # A hidden one is an editor's, or what a ConfigMap of Kubernetes links to.
        if file.suffix in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    )


def _conflicts(path: Path, documents: Mapping[Path, PolicyDocument]) -> Iterator[Problem]:
    """Yield what is wrong with the files taken together."""
    taken: dict[str, Path] = {}
    for file, each in _named(documents):
        name = each.policy_set.name
        if name in taken:
            where = "" if taken[name] == file else f" in {taken[name]}"
            index = documents[file].sets.index(each)
            yield Problem.at(file, each.name, f"policy_sets[{index}].name: {name!r} is already taken{where}")
        taken.setdefault(name, file)
    names = ", ".join(map(repr, taken))
    defaults = list(_defaults(documents))
    if not defaults and len(taken) > 1:
        # A file has a first line to point at, a folder has not.
        root = documents[path].root if path in documents else None
        reason = f"holds several policy sets, so `default` must name one of them: {names}"
        yield Problem.at(path, root, reason) if root else Problem(path, 0, 0, reason)
    for file, node in defaults[:1]:
        if node.value not in taken:
            yield Problem.at(file, node, f"default: {node.value!r} is not among the sets {names}")
    for file, node in defaults[1:]:
        yield Problem.at(file, node, f"default: {defaults[0][0]} names one already; keep one of the two")


def _named(documents: Mapping[Path, PolicyDocument]) -> Iterator[tuple[Path, NamedSet]]:
    for file, document in documents.items():
        for each in document.sets:
            yield file, each


def _defaults(documents: Mapping[Path, PolicyDocument]) -> Iterator[tuple[Path, yaml.ScalarNode]]:
    for file, document in documents.items():
        if isinstance(document.default, yaml.ScalarNode):
            yield file, document.default
