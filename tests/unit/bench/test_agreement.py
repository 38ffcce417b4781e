import math
from pathlib import Path

import pytest

from agreement import from_examples, report, requests
from archroute_server.router.example import Example
from archroute_server.router.example_file import ExampleFileError, write_examples
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy


def test_shares_are_of_all_and_of_those_where_the_reference_is_sure() -> None:
    # agrees, probability of the reference's choice, of the candidate's
    rows = [(True, 0.9, 0.8), (False, 0.7, 0.4), (True, 0.5, 0.5), (False, 0.3, 0.4)]
    figures = report(rows)
    assert figures == {
        "conversations": 4,
        "agreement": 0.5,
        "sure_conversations": 2,
        "agreement_where_sure": 0.5,
        "mean_change_of_top_probability": pytest.approx((0.1 + 0.3 + 0 + 0.1) / 4),
    }


def test_nothing_is_said_of_what_did_not_occur() -> None:
    assert math.isnan(report([(True, 0.2, 0.2)])["agreement_where_sure"])


def test_the_requests_are_five_hundred_conversations() -> None:
    made = requests(500)
    assert len(made) == 500
    # A few dialogues begin with the same sentence.
    assert len({tuple(messages) for _, messages in made}) == 495
    assert {len(policies.policies) for policies, _ in made} == {10}
    assert len({policies.revision for policies, _ in made}) == 5
    assert requests(500) == made


def write(path: Path, texts: list[str]) -> Path:
    policies = (Policy("code", "Programs"), Policy("travel", "Journeys"))
    write_examples(path, [Example(policies, (Message(Role.USER, text),), "code") for text in texts])
    return path


def test_examples_are_taken_evenly_from_all_files(tmp_path: Path) -> None:
    first = write(tmp_path / "first.jsonl", ["a", "b", "c", "d"])
    second = write(tmp_path / "second.jsonl", ["e", "f"])
    asked = from_examples([first, second], 3)
    assert [message.text for _, (message,) in asked] == ["a", "c", "e"]
    assert {policies.policies[0].name for policies, _ in asked} == {"code"}
    assert len(from_examples([first, second], 500)) == 6


def test_a_file_that_holds_no_examples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("", encoding="utf-8")
    with pytest.raises(ExampleFileError, match=r"empty\.jsonl"):
        from_examples([path], 500)
