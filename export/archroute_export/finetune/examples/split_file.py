"""The file that says which domains and policies are kept from training, such as `data/splits.yaml`.

test: [gateway/legal, ...]                 domains, as <source>/<domain>
validation: [gateway/education, ...]
test_policies:                             optional: single policies of the domains that train
  - {source: clinc150, of_each_domain: 3, seed: 0}
related:                                   optional: domains of different sources that never meet in a set
  - [gateway/finance, clinc150/banking]
alone: [clinc150/meta]                     optional: domains that meet no other source's policies
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from archroute_export.finetune.examples.catalogue import source_of
from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.labelled import Source
from archroute_export.finetune.sources.yaml_file import Node, read_yaml


@dataclass(frozen=True)
class DrawnPolicies:
    """Policies to be drawn for the test from each domain of a source that trains."""

    source: str
    of_each_domain: int
    seed: int


@dataclass(frozen=True)
class SplitRules:
    """What the file says. `related` holds pairs of domains, in either order once."""

    test: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()
    test_policies: tuple[DrawnPolicies, ...] = ()
    related: frozenset[tuple[str, str]] = frozenset()
    alone: frozenset[str] = frozenset()


def read_split_rules(path: Path, sources: Iterable[Source]) -> SplitRules:
    """Read the file. Raises `SourceError`, also for a domain that its source, if it is given, lacks."""
    known = {source.name: {policy.domain for policy in source.policies} for source in sources}
    fields = read_yaml(path).mapping(optional=("test", "validation", "test_policies", "related", "alone"))
    test = _domains(fields.get("test"), known)
    validation = _domains(fields.get("validation"), known)
    if both := sorted(test & validation):
        raise SourceError(path, f"names {', '.join(both)} for both test and validation")
    drawn = fields["test_policies"].items() if "test_policies" in fields else []
    groups = fields["related"].items() if "related" in fields else []
    return SplitRules(
        test=test,
        validation=validation,
        test_policies=tuple(map(_drawn, drawn)),
        related=frozenset(
            pair
            for group in groups
            for pair in combinations(sorted(_domains(group, known)), 2)
            if source_of(pair[0]) != source_of(pair[1])
        ),
        alone=_domains(fields.get("alone"), known),
    )


def _domains(node: Node | None, known: dict[str, set[str]]) -> frozenset[str]:
    if node is None:
        return frozenset()
    found = set()
    for item in node.items():
        domain = item.text()
        source = source_of(domain)
        if domain.count("/") != 1:
            raise item.error(f"is {domain!r}; a domain is named as <source>/<domain>")
        if source in known and domain not in known[source]:
            raise item.error(f"is {domain!r}, but {source} has only {', '.join(sorted(known[source]))}")
        found.add(domain)
    return frozenset(found)


def _drawn(node: Node) -> DrawnPolicies:
    fields = node.mapping(("source", "of_each_domain", "seed"))
    return DrawnPolicies(
        fields["source"].text(), fields["of_each_domain"].whole_number(), fields["seed"].whole_number()
    )
