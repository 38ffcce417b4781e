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

or several domains, and dialogues that go from one of their policies to another:

    domains:
      - name: dry_cleaning
        descriptions: [...]
        policies: [{name: order_pickup, descriptions: [...]}, ...]          `requests` may be left out here
    dialogues: [...]                                                        see `own_dialogues`

or requests that fit none of the policies, except perhaps some of the domains that `unless` names:

    out_of_scope: [turn off the lights, ...]
    unless: [smart_home]

The data of this project in `data/gateway`, `data/topics` and `data/services` has these forms.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest, Source
from archroute_export.finetune.sources.own_dialogues import dialogue_requests
from archroute_export.finetune.sources.yaml_file import Node, read_yaml, yaml_files
from archroute_server.router.message import Message, Role

# The keys of a policy, required and optional: alone, and where dialogues ask for it as well.
_POLICY_KEYS = ("name", "descriptions", "requests"), ("overlaps",)
_DIALOGUE_POLICY_KEYS = ("name", "descriptions"), ("overlaps", "requests")
_TURN_ROLES = tuple(role.value for role in (Role.USER, Role.ASSISTANT, Role.SYSTEM, Role.TOOL))


def read_own_requests(path: Path) -> Source:
    """Read a file or a folder of files; the source has its name. Raises `SourceError`."""
    name = path.resolve().name if path.is_dir() else path.stem
    files = [_File.read(file, name) for file in yaml_files(path)]
    domains = [domain for file in files for domain in file.domains]
    policies = [policy for file in files for policy in file.policies]
    _names_differ(domains)
    _names_differ(policies)
    ids = {entry.policy.name: entry.policy.id for entry in policies}
    domain_ids = {entry.policy.name: entry.policy.id for entry in domains}
    dialogues = chain.from_iterable(file.dialogue_requests(ids) for file in files)
    unfit = chain.from_iterable(file.unfit(ids, domain_ids) for file in files)
    return Source(
        name=name,
        domains=tuple(entry.policy for entry in domains),
        policies=tuple(entry.policy for entry in policies),
        overlaps=frozenset(pair for entry in policies for pair in entry.overlaps(ids)),
        requests=tuple(chain(*(entry.requests(ids) for entry in policies), dialogues, unfit)),
    )


@dataclass(frozen=True)
class _Entry:
    """A policy or a domain, and what the file says of it.

    Its requests and overlaps are read when the names of all files are known.
    """

    policy: LabelledPolicy
    fields: Mapping[str, Node]

    def overlaps(self, ids: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        if "overlaps" in self.fields:
            for node in self.fields["overlaps"].items():
                yield self.policy.id, _known(node, ids)

    def requests(self, ids: Mapping[str, str]) -> Iterator[LabelledRequest]:
        for node in self.fields["requests"].items() if "requests" in self.fields else ():
            yield _request(node, self.policy.id, ids)


@dataclass(frozen=True)
class _File:
    domains: list[_Entry] = field(default_factory=list)
    policies: list[_Entry] = field(default_factory=list)
    dialogues: Mapping[str, Node] = field(default_factory=dict)  # by the group of their requests
    out_of_scope: Mapping[str, Node] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, source: str) -> "_File":
        root = read_yaml(path)
        fields = root.mapping(
            optional=("domain", "policies", "domains", "dialogues", "out_of_scope", "unless")
        )
        if "out_of_scope" in fields:
            return cls(out_of_scope=root.mapping(("out_of_scope",), ("unless",)))
        if "dialogues" in fields:
            fields = root.mapping(("domains", "dialogues"))
            whole = ("name", "descriptions", "policies")
            parts = [
                _domain(node.mapping(whole), source, _DIALOGUE_POLICY_KEYS)
                for node in fields["domains"].items()
            ]
            policies = [policy for _, policies in parts for policy in policies]
            dialogues = {
                f"{source}/{path.stem}/{number}": node
                for number, node in enumerate(fields["dialogues"].items())
            }
            return cls([domain for domain, _ in parts], policies, dialogues)
        fields = root.mapping(("domain", "policies"))
        described = fields["domain"].mapping(("name", "descriptions"))
        domain, policies = _domain({**fields, **described}, source, _POLICY_KEYS)
        return cls([domain], policies)

    def dialogue_requests(self, ids: Mapping[str, str]) -> Iterator[LabelledRequest]:
        for group, node in self.dialogues.items():
            yield from dialogue_requests(node, ids, group)

    def unfit(self, ids: Mapping[str, str], domains: Mapping[str, str]) -> Iterator[LabelledRequest]:
        if "out_of_scope" in self.out_of_scope:
            others = self.out_of_scope["unless"].items() if "unless" in self.out_of_scope else []
            unless = frozenset(_known(node, domains, "domain") for node in others)
            for node in self.out_of_scope["out_of_scope"].items():
                request = _request(node, None, ids)
                yield replace(request, also=request.also | unless)


def _domain(
    fields: Mapping[str, Node], source: str, policy_keys: tuple[Sequence[str], Sequence[str]]
) -> tuple[_Entry, list[_Entry]]:
    """Read a domain, of which `fields` has the name, the descriptions and the policies."""
    domain_id = f"{source}/{_name(fields['name'])}"
    policies = []
    for node in fields["policies"].items():
        entry = node.mapping(*policy_keys)
        policy_id = f"{domain_id}/{_name(entry['name'])}"
        policies.append(_Entry(_policy(policy_id, domain_id, entry), entry))
    return _Entry(_policy(domain_id, domain_id, fields), fields), policies


def _policy(policy_id: str, domain_id: str, fields: Mapping[str, Node]) -> LabelledPolicy:
    return LabelledPolicy(policy_id, domain_id, fields["name"].text(), fields["descriptions"].texts())


def _names_differ(entries: Iterable[_Entry]) -> None:
    files: dict[str, str] = {}
    for entry in entries:
        node, name = entry.fields["name"], entry.policy.name
        if name in files:
            raise node.error(f"is {name!r}, as in {files[name]}")
        files[name] = node.path.name


def _request(node: Node, policy: str | None, ids: Mapping[str, str]) -> LabelledRequest:
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
    role, text = node.entry(_TURN_ROLES, "must have one key, the role")
    return Message(Role(role), text.text())


def _known(node: Node, ids: Mapping[str, str], kind: str = "policy") -> str:
    name = node.text()
    if name not in ids:
        raise node.error(f"is {name!r}, which is no {kind} of these files")
    return ids[name]


def _name(node: Node) -> str:
    name = node.text()
    if "/" in name:
        raise node.error(f"is {name!r}; a name has no '/'")
    return name
