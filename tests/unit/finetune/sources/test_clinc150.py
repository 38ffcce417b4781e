import json
from pathlib import Path

import pytest

from archroute_export.finetune.sources.clinc150 import read_clinc150
from archroute_export.finetune.sources.errors import SourceError

DESCRIPTIONS = """
- domain: banking
  descriptions: [Bank accounts]
  policies:
    - {name: balance, descriptions: [What is there], overlaps: [apr]}
- domain: cards
  descriptions: [Cards]
  policies:
    - {name: apr, descriptions: [What it costs]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "domains.json").write_text(json.dumps({"banking": ["balance"], "cards": ["apr"]}))
    (tmp_path / "train.jsonl").write_text('{"text":"how much have i got","intent":"balance"}\n')
    (tmp_path / "val.jsonl").write_text('{"text":"why is it raining","intent":null}\n')
    (tmp_path / "policies.yaml").write_text(DESCRIPTIONS)
    return tmp_path


def test_reads_intents_as_policies(folder: Path) -> None:
    source = read_clinc150(folder, folder / "policies.yaml")
    assert [policy.id for policy in source.domains] == ["clinc150/banking", "clinc150/cards"]
    assert [policy.id for policy in source.policies] == ["clinc150/banking/balance", "clinc150/cards/apr"]
    assert source.overlaps == {("clinc150/banking/balance", "clinc150/cards/apr")}
    assert [(request.messages[0].text, request.policy) for request in source.requests] == [
        ("how much have i got", "clinc150/banking/balance"),
        ("why is it raining", None),
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train.jsonl", '{"text":"a","intent":"loans"}', r"train\.jsonl:1: has the unknown intent 'loans'"),
        ("train.jsonl", '\n{"intent":"apr"}', r"train\.jsonl:2: has no `text`"),
        ("val.jsonl", "[]", r"val\.jsonl:1: must be an object"),
        ("val.jsonl", "{", r"val\.jsonl:1: is not JSON"),
        ("domains.json", "[]", r"domains\.json: must be an object"),
        ("domains.json", "{\n]", r"domains\.json:2: is not JSON"),
        (
            "policies.yaml",
            DESCRIPTIONS.replace("apr, desc", "fee, desc"),
            "'fee', which is no intent of",
        ),
        ("policies.yaml", DESCRIPTIONS.replace("[apr]", "[fee]"), "'fee', which is no intent"),
        ("policies.yaml", DESCRIPTIONS.replace("domain: cards", "domain: loans"), "'loans', which"),
        ("policies.yaml", DESCRIPTIONS.partition("- domain: cards")[0], "does not describe apr"),
    ],
)
def test_a_wrong_place_is_named(folder: Path, name: str, content: str, reason: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(SourceError, match=reason):
        read_clinc150(folder, folder / "policies.yaml")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "val.jsonl").unlink()
    with pytest.raises(SourceError, match=r"val\.jsonl: cannot be read"):
        read_clinc150(folder, folder / "policies.yaml")
