"""The file that says which domains and policies are kept from training, such as `data/splits.yaml`.

test: [gateway/legal, ...]                 domains, as <source>/<domain>
validation: [gateway/education, ...]
test_policies:                             optional: single policies of the domains that train
  - {source: clinc150, of_each_domain: 3, seed: 0}
related:                                   optional: domains of different sources that never meet in a set
  - [gateway/finance, clinc150/banking]
apart: [[gateway/agriculture, ...]]         optional: the first of each list never meets the others
alone: [gateway/agent_tools]               optional: domains that meet no other domain
own_source_only: [clinc150/meta, topics]   optional: domains, or whole sources, that meet no other source
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from archroute_export.finetune.examples.catalogue import source_of
from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.labelled import Source
from archroute_export.finetune.sources.yaml_file import Node, read_yaml

_FIELDS = ("test", "validation", "test_policies", "related", "apart", "alone", "own_source_only")


@dataclass(frozen=True)
class DrawnPolicies:
    """Policies to be drawn for the test from each domain of a source that trains."""

    source: str
    of_each_domain: int
    seed: int


@dataclass(frozen=True)
class SplitRules:
    """What the file says. `apart` holds pairs of domains, from `related` too, each in one order or both."""

    test: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()
    test_policies: tuple[DrawnPolicies, ...] = ()
    apart: frozenset[tuple[str, str]] = frozenset()
    alone: frozenset[str] = frozenset()
    own_source_only: frozenset[str] = frozenset()


def read_split_rules(path: Path, sources: Iterable[Source]) -> SplitRules:
    """Read the file. Raises `SourceError`, also for a domain that its source, if it is given, lacks."""
    known = {source.name: {policy.domain for policy in source.policies} for source in sources}
    fields = read_yaml(path).mapping(optional=_FIELDS)
    test = _domains(fields.get("test"), known)
    validation = _domains(fields.get("validation"), known)
    if both := sorted(test & validation):
        raise SourceError(path, f"names {', '.join(both)} for both test and validation")
    return SplitRules(
        test=test,
        validation=validation,
        test_policies=tuple(_drawn(node) for node in _items(fields.get("test_policies"))),
        apart=frozenset(_pairs(fields.get("related"), fields.get("apart"), known)),
        alone=_domains(fields.get("alone"), known),
        own_source_only=frozenset(
            _domain(node, known) if "/" in node.text() else node.text()
            for node in _items(fields.get("own_source_only"))
        ),
    )


def _pairs(
    related: Node | None, apart: Node | None, known: Mapping[str, Set[str]]
) -> Iterator[tuple[str, str]]:
    for group in _items(related):
        for one, other in combinations([_domain(node, known) for node in group.items()], 2):
            if source_of(one) != source_of(other):
                yield one, other
    for group in _items(apart):
        first, *others = (_domain(node, known) for node in group.items())
        for other in others:
            yield first, other


def _domains(node: Node | None, known: Mapping[str, Set[str]]) -> frozenset[str]:
    return frozenset(_domain(item, known) for item in _items(node))


def _domain(node: Node, known: Mapping[str, Set[str]]) -> str:
    domain = node.text()
    source = source_of(domain)
    if domain.count("/") != 1:
        raise node.error(f"is {domain!r}; a domain is named as <source>/<domain>")
    if source in known and domain not in known[source]:
        raise node.error(f"is {domain!r}, but {source} has only {', '.join(sorted(known[source]))}")
    return domain


def _items(node: Node | None) -> list[Node]:
    return [] if node is None else node.items()


def _drawn(node: Node) -> DrawnPolicies:
    fields = node.mapping(("source", "of_each_domain", "seed"))
    return DrawnPolicies(
        fields["source"].text(), fields["of_each_domain"].whole_number(), fields["seed"].whole_number()
    )
