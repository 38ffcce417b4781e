from pathlib import Path

import pytest

from archroute_export.finetune.examples.split_file import DrawnPolicies, SplitRules, read_split_rules
from archroute_export.finetune.sources.errors import SourceError
from support.labelled_sources import make_source


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "splits.yaml"


def test_reads_the_rules(file: Path) -> None:
    file.write_text(
        """
test: [own/d0]
validation: [own/d1, elsewhere/z]
test_policies: [{source: own, of_each_domain: 2, seed: 7}]
related: [[own/d2, own/d3, elsewhere/z]]
apart: [[own/d1, own/d2, own/d3]]
alone: [own/d3]
own_source_only: [own/d2, elsewhere]
"""
    )
    assert read_split_rules(file, [make_source()]) == SplitRules(
        test=frozenset({"own/d0"}),
        validation=frozenset({"own/d1", "elsewhere/z"}),
        test_policies=(DrawnPolicies("own", 2, 7),),
        apart=frozenset(
            {
                ("own/d2", "elsewhere/z"),
                ("own/d3", "elsewhere/z"),
                ("own/d1", "own/d2"),
                ("own/d1", "own/d3"),
            }
        ),
        alone=frozenset({"own/d3"}),
        own_source_only=frozenset({"own/d2", "elsewhere"}),
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("test: [own/d9]", r"splits\.yaml:1: test\[0\] is 'own/d9', but own has only own/d0, own/d1"),
        ("test: [d0]", "a domain is named as <source>/<domain>"),
        ("test: [own/d0]\nvalidation: [own/d0]", "own/d0 for both test and validation"),
        ("tests: [own/d0]", "did you mean `test`"),
        ("test_policies: [{source: own, of_each_domain: many, seed: 0}]", "must be a whole number, not text"),
        ("own_source_only: [own/d9]", r"own_source_only\[0\] is 'own/d9'"),
        ("apart: [[own/d0, own/d9]]", r"apart\[0\]\[1\] is 'own/d9'"),
        ("related: [own/d0]", r"related\[0\] must be a list, not text"),
    ],
)
def test_a_wrong_place_is_named(file: Path, content: str, reason: str) -> None:
    file.write_text(content)
    with pytest.raises(SourceError, match=reason):
        read_split_rules(file, [make_source()])
