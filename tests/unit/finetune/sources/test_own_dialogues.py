from pathlib import Path

import pytest

from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.own_requests import read_own_requests

CLEANING = """
domains:
  - name: dry_cleaning
    descriptions: [Having clothes cleaned]
    policies:
      - {name: order_pickup, descriptions: [Having clothes fetched], overlaps: [price_list]}
      - {name: price_list, descriptions: [What cleaning costs], requests: [how much is a coat]}
  - name: tailoring
    descriptions: [Having clothes altered]
    policies:
      - {name: shorten, descriptions: [Having something made shorter]}
dialogues:
  - - order_pickup: fetch two suits
    - assistant: When?
    - order_pickup: tomorrow
    - assistant: Done.
    - shorten: one has too long sleeves
    - assistant: By how much?
    - none: never mind, thanks
  - language: de
    turns:
      - price_list: Was kostet ein Mantel?
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cleaning.yaml"


def test_each_turn_that_calls_for_a_policy_is_a_request(file: Path) -> None:
    file.write_text(CLEANING)
    source = read_own_requests(file)
    pickup, prices, shorten = (
        "cleaning/dry_cleaning/order_pickup",
        "cleaning/dry_cleaning/price_list",
        "cleaning/tailoring/shorten",
    )
    assert [domain.id for domain in source.domains] == ["cleaning/dry_cleaning", "cleaning/tailoring"]
    assert [policy.id for policy in source.policies] == [pickup, prices, shorten]
    assert source.overlaps == {(pickup, prices)}
    alone, *turns, german = source.requests
    assert (alone.policy, alone.group) == (prices, "")
    assert [request.policy for request in turns] == [pickup, pickup, shorten]
    assert [len(request.messages) for request in turns] == [1, 3, 5]
    assert turns[2].messages[:3] == turns[1].messages
    assert [request.earlier for request in turns] == [set(), {pickup}, {pickup}]
    assert {request.group for request in turns} == {"cleaning/cleaning/0"}
    assert (german.policy, german.language, german.group) == (prices, "de", "cleaning/cleaning/1")


@pytest.mark.parametrize(
    ("found", "replacement", "line", "reason"),
    [
        ("- shorten: one", "- shortening: one", 17, "unknown key `shortening`; did you mean `shorten`?"),
        ("- assistant: When?", "- none: hm", 14, "is the user's; user and assistant must"),
        ("- - order_pickup: fetch", "- - assistant: fetch", 13, "is the assistant's; user and"),
        ("- shorten: one", "- {shorten: one, assistant: two}\n    # ", 17, "must have one key"),
        ("- assistant: When?", "- assistant: ''", 14, "is empty"),
        ("  - language: de\n    turns:", "  - turn:", 20, "did you mean `turns`?"),
        ("domains:", "domain:", 2, "did you mean `domains`?"),
    ],
)
def test_a_wrong_place_is_named(file: Path, found: str, replacement: str, line: int, reason: str) -> None:
    assert found in CLEANING
    file.write_text(CLEANING.replace(found, replacement, 1))
    with pytest.raises(SourceError) as raised:
        read_own_requests(file)
    assert reason in str(raised.value)
    assert raised.value.line == line


def test_of_many_known_keys_the_first_are_named(file: Path) -> None:
    policies = ", ".join(f"{{name: p{number}, descriptions: [x]}}" for number in range(30))
    file.write_text(
        f"domains: [{{name: d, descriptions: [d], policies: [{policies}]}}]\n"
        "dialogues: [[{zzzzzz: hello}]]\n"
    )
    with pytest.raises(SourceError, match=r"it has `assistant`, `none`, `p0`, .*`p9` and 20 others"):
        read_own_requests(file)
