"""The policies file: the policy sets of a server, in YAML.

    default: llm-gateway          # needed only if there are several sets
    policy_sets:
      - name: llm-gateway
        default_policy: code_generation       # what is answered if there is no time to decide; optional
        policies:
          - name: code_generation
            description: Writing new functions, classes or scripts from a description
            models: [openai/gpt-5.1, anthropic/claude-sonnet-4.5]     # preferred one first; optional

The file is read as YAML nodes rather than values, because only nodes know their line, and so that nothing is
converted on the way: `name: no` is refused instead of becoming False.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from archroute_server.router.errors import InvalidRequest, shorten
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_sets import PolicySets

_STRING_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Problem:
    """What is wrong and where. `line` and `column` count from 1; 0 if it concerns the file as a whole."""

    line: int
    column: int
    reason: str


class PolicyFileError(Exception):
    """A policies file that cannot be used, with every problem that was found in it."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self._describe(problem) for problem in self.problems))

    def _describe(self, problem: Problem) -> str:
        place = f"{self.path}:{problem.line}:{problem.column}" if problem.line else str(self.path)
        return f"{place}: {problem.reason}"


def load_policy_sets(path: Path) -> PolicySets:
    """Read a policies file. Raises `PolicyFileError` naming file, line and reason."""
    text = _read(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line, column = _place(text, error.position)
        reason = f"holds the character U+{error.character:04X}, which YAML allows only as an escape"
        raise PolicyFileError(path, [Problem(line, column, reason)]) from error
    except yaml.MarkedYAMLError as error:
        raise PolicyFileError(path, [_syntax_problem(error)]) from error
    if root is None:
        raise PolicyFileError(path, [Problem(0, 0, "is empty; it needs `policy_sets`")])
    try:
        return _policy_sets(root)
    except _WrongNodes as error:
        raise PolicyFileError(path, error.problems) from error


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyFileError(path, [Problem(0, 0, f"cannot be read: {error.strerror}")]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyFileError(path, [Problem(line, 1, "is not UTF-8 text")]) from error


def _place(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    reason = "is not valid YAML: " + ", ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    return Problem(mark.line + 1, mark.column + 1, reason) if mark else Problem(0, 0, reason)


# The nodes. Each function reads one level of the file.


class _WrongNodes(Exception):
    """Nodes of the file, each with what is wrong with it."""

    def __init__(self, *wrong: tuple[yaml.Node, str]) -> None:
        self.problems = [
            Problem(node.start_mark.line + 1, node.start_mark.column + 1, reason) for node, reason in wrong
        ]


def _policy_sets(root: yaml.Node) -> PolicySets:
    entries = _mapping(root, "the file", required=("policy_sets",), optional=("default",))
    nodes = _sequence(entries["policy_sets"], "policy_sets")
    if not nodes:
        raise _WrongNodes((entries["policy_sets"], "policy_sets is empty; give at least one policy set"))
    sets: dict[str, PolicySet] = {}
    for index, node in enumerate(nodes):
        name_node, policy_set = _policy_set(node, f"policy_sets[{index}]")
        if policy_set.name in sets:
            raise _WrongNodes((name_node, f"policy_sets[{index}].name: {policy_set.name!r} is already taken"))
        sets[policy_set.name] = policy_set
    names = ", ".join(map(repr, sets))
    if "default" not in entries:
        if len(sets) > 1:
            reason = f"holds several policy sets, so `default` must name one of them: {names}"
            raise _WrongNodes((root, reason))
        return PolicySets(sets.values())
    default = _string(entries["default"], "default")
    if default not in sets:
        raise _WrongNodes((entries["default"], f"default: {default!r} is not among the sets {names}"))
    return PolicySets(sets.values(), default)


def _policy_set(node: yaml.Node, where: str) -> tuple[yaml.Node, PolicySet]:
    entries = _mapping(node, where, required=("name", "policies"), optional=("default_policy",))
    name_node = entries["name"]
    name = _string(name_node, f"{where}.name")
    if not name:
        raise _WrongNodes((name_node, f"{where}.name: is empty"))
    # Where each field was written, under the paths that the violations of a policy set use.
    written = {"name": name_node, "policies": entries["policies"]}
    default_policy = None
    if "default_policy" in entries:
        written["default_policy"] = entries["default_policy"]
        default_policy = _string(entries["default_policy"], f"{where}.default_policy")
    policies = []
    for index, policy_node in enumerate(_sequence(entries["policies"], f"{where}.policies")):
        path = f"policies[{index}]"
        written[path] = policy_node
        policies.append(_policy(policy_node, where, path, written))
    try:
        return name_node, PolicySet(name, tuple(policies), default_policy)
    except InvalidRequest as error:
        raise _WrongNodes(
            *((written[violation.field], f"{where}.{violation}") for violation in error.violations)
        ) from error


def _policy(node: yaml.Node, where: str, path: str, written: dict[str, yaml.Node]) -> Policy:
    entries = _mapping(node, f"{where}.{path}", required=("name", "description"), optional=("models",))
    written.update({f"{path}.{key}": entry for key, entry in entries.items()})
    models = []
    if "models" in entries:
        for index, model in enumerate(_sequence(entries["models"], f"{where}.{path}.models")):
            written[f"{path}.models[{index}]"] = model
            models.append(_string(model, f"{where}.{path}.models[{index}]"))
    return Policy(
        _string(entries["name"], f"{where}.{path}.name"),
        _string(entries["description"], f"{where}.{path}.description"),
        tuple(models),
    )


# The shapes that nodes can have.


def _mapping(
    node: yaml.Node, where: str, *, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, yaml.Node]:
    known = (*required, *optional)
    expected = "with " + ", ".join(f"`{key}`" for key in known)
    if not isinstance(node, yaml.MappingNode):
        raise _WrongNodes((node, f"{where} must be a mapping {expected}, not {_kind(node)}"))
    entries: dict[str, yaml.Node] = {}
    for key_node, value in node.value:
        key = _string(key_node, f"a key of {where}")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean `{close[0]}`?" if close else f"it is a mapping {expected}"
            raise _WrongNodes((key_node, f"{where} has the unknown key `{shorten(key)}`; {advice}"))
        if key in entries:
            raise _WrongNodes((key_node, f"{where} has the key `{key}` twice"))
        entries[key] = value
    for key in required:
        if key not in entries:
            raise _WrongNodes((node, f"{where} has no `{key}`"))
    return entries


def _sequence(node: yaml.Node, where: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise _WrongNodes((node, f"{where} must be a list, not {_kind(node)}"))
    return list(node.value)


def _string(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING_TAG:
        advice = "; put it in quotes" if isinstance(node, yaml.ScalarNode) and node.value else ""
        raise _WrongNodes((node, f"{where} must be text, not {_kind(node)}{advice}"))
    return str(node.value)


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
