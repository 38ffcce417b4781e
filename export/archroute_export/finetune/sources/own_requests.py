"""Policies and requests that a team writes itself, in YAML: one file, or a folder with one for each domain.

    domain:
      name: software_development
      descriptions: [Anything about writing or fixing software, ...]      the domain as one coarse policy
    policies:
      - name: code_generation                         unique among all files of the folder
        descriptions: [Writing new code from a description, ...]          several wordings of the same
        overlaps: [api_documentation]                 optional: policies that could be right as well
        requests:
          - a bash loop over all csv files
          - {text: Schreib mir ein Skript, language: de}
          - turns: [user: ..., assistant: ..., user: and in Go?]          the last turn decides
            also: [debugging]                         optional: acceptable for this request too
    out_of_scope: [requests that no policy of any file fits, ...]         optional, in place of or beside them

The data of this project in `data/gateway` has this form.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest, Source
from archroute_export.finetune.sources.yaml_file import Node, read_yaml, yaml_files
from archroute_server.router.message import Message, Role

_TURN_ROLES = tuple(role.value for role in (Role.USER, Role.ASSISTANT, Role.SYSTEM, Role.TOOL))


def read_own_requests(path: Path) -> Source:
    """Read a file or a folder of files; the source has its name. Raises `SourceError`."""
    name = path.resolve().stem
    files = [_DomainFile.read(file, name) for file in yaml_files(path)]
    ids: dict[str, str] = {}
    domains: dict[str, str] = {}
    for file in files:
        if file.domain is None:
            continue
        if file.domain.id in domains:
            raise file.root.error(
                f"describes the domain {file.domain.name!r}, as {domains[file.domain.id]} does"
            )
        domains[file.domain.id] = file.root.path.name
        for policy, node in file.policies:
            if policy.name in ids:
                raise node.error(f"is {policy.name!r}, the name of {ids[policy.name]} too")
            ids[policy.name] = policy.id
    return Source(
        name=name,
        domains=tuple(file.domain for file in files if file.domain),
        policies=tuple(policy for file in files for policy, _ in file.policies),
        overlaps=frozenset(pair for file in files for pair in file.overlaps(ids)),
        requests=tuple(request for file in files for request in file.requests(ids)),
    )


@dataclass(frozen=True)
class _DomainFile:
    """One file; its requests and overlaps are read once the names of all files are known."""

    root: Node
    domain: LabelledPolicy | None
    policies: list[tuple[LabelledPolicy, Node]]  # each with the node of its name
    entries: list[dict[str, Node]]
    out_of_scope: list[Node]

    @classmethod
    def read(cls, path: Path, source: str) -> "_DomainFile":
        root = read_yaml(path)
        fields = root.mapping(optional=("domain", "policies", "out_of_scope"))
        out_of_scope = fields["out_of_scope"].items() if "out_of_scope" in fields else []
        if "domain" not in fields or "policies" not in fields:
            if out_of_scope and len(fields) == 1:
                return cls(root, None, [], [], out_of_scope)
            raise root.error("needs `domain` and `policies`")
        domain_fields = fields["domain"].mapping(("name", "descriptions"))
        name = _name(domain_fields["name"])
        domain_id = f"{source}/{name}"
        domain = LabelledPolicy(domain_id, domain_id, name, domain_fields["descriptions"].texts())
        policies, entries = [], []
        for node in fields["policies"].items():
            entry = node.mapping(("name", "descriptions", "requests"), ("overlaps",))
            policy_name = _name(entry["name"])
            policy = LabelledPolicy(
                f"{domain_id}/{policy_name}", domain_id, policy_name, entry["descriptions"].texts()
            )
            policies.append((policy, entry["name"]))
            entries.append(entry)
        return cls(root, domain, policies, entries, out_of_scope)

    def overlaps(self, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
        for (policy, _), entry in zip(self.policies, self.entries, strict=True):
            if "overlaps" in entry:
                for node in entry["overlaps"].items():
                    yield policy.id, _known(node, ids)

    def requests(self, ids: dict[str, str]) -> Iterator[LabelledRequest]:
        for (policy, _), entry in zip(self.policies, self.entries, strict=True):
            for node in entry["requests"].items():
                yield _request(node, policy.id, ids)
        for node in self.out_of_scope:
            yield _request(node, None, ids)


def _request(node: Node, policy: str | None, ids: dict[str, str]) -> LabelledRequest:
    if node.is_scalar():
        return LabelledRequest((Message(Role.USER, node.text()),), policy)
    fields = node.mapping(optional=("text", "turns", "language", "also"))
    if ("text" in fields) == ("turns" in fields):
        raise node.error("needs either `text` or `turns`")
    if "text" in fields:
        messages: tuple[Message, ...] = (Message(Role.USER, fields["text"].text()),)
    else:
        messages = tuple(_turn(turn) for turn in fields["turns"].items())
        if messages[-1].role is not Role.USER:
            raise fields["turns"].error("must end with a turn of the user")
    also = fields["also"].items() if "also" in fields else []
    return LabelledRequest(
        messages,
        policy,
        also=frozenset(_known(other, ids) for other in also),
        language=fields["language"].text() if "language" in fields else "en",
    )


def _turn(node: Node) -> Message:
    fields = node.mapping(optional=_TURN_ROLES)
    if len(fields) != 1:
        raise node.error("must have one key, the role")
    ((role, text),) = fields.items()
    return Message(Role(role), text.text())


def _known(node: Node, ids: dict[str, str]) -> str:
    name = node.text()
    if name not in ids:
        raise node.error(f"is {name!r}, which is no policy of these files")
    return ids[name]


def _name(node: Node) -> str:
    name = node.text()
    if "/" in name:
        raise node.error(f"is {name!r}; a name has no '/'")
    return name
