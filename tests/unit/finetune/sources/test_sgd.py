import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.labelled import Source
from archroute_export.finetune.sources.sgd import is_closing, read_sgd

SCHEMA = [
    {"service": "Buses_1", "intents": [{"name": "FindBus"}, {"name": "BuyBusTicket"}]},
    {"service": "Buses_2", "intents": [{"name": "FindBus"}]},
    {"service": "Hotels_1", "intents": [{"name": "SearchHotel"}]},
]
DESCRIPTIONS = """
- service: Buses_1
  domain: Buses
  intents:
    - {name: FindBus, policy: find_bus, descriptions: [Find a bus, bus search]}
    - {name: BuyBusTicket, policy: buy_bus_ticket, descriptions: [Buy a ticket]}
- service: Buses_2
  domain: Buses
  intents:
    - {name: FindBus, policy: find_bus, descriptions: [Look up buses, bus search]}
- service: Hotels_1
  domain: Hotels
  intents:
    - {name: SearchHotel, policy: search_hotel, descriptions: [Find a hotel]}
"""
FIND = ("Buses_1", "FindBus")
BUY = ("Buses_1", "BuyBusTicket")
OVER = ("Buses_1", "NONE")
HOTEL = ("Hotels_1", "SearchHotel")


def user(text: str, *active: tuple[str, str]) -> dict[str, Any]:
    return {"role": "user", "content": text, "active": active}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def read(folder: Path, *dialogues: Sequence[dict[str, Any]]) -> Source:
    lines = [json.dumps({"id": f"1_{n}", "turns": turns}) for n, turns in enumerate(dialogues)]
    (folder / "train.jsonl").write_text("\n".join(lines))
    (folder / "train_schema.json").write_text(json.dumps(SCHEMA))
    (folder / "policies.yaml").write_text(DESCRIPTIONS)
    return read_sgd(folder, folder / "policies.yaml")


def labels(source: Source) -> list[tuple[str, str | None]]:
    return [(request.messages[-1].text, request.policy) for request in source.requests]


def test_services_that_offer_the_same_share_a_policy(tmp_path: Path) -> None:
    policies = {policy.id: policy for policy in read(tmp_path, [user("bus?", FIND)]).policies}
    assert list(policies) == ["sgd/Buses/find_bus", "sgd/Buses/buy_bus_ticket", "sgd/Hotels/search_hotel"]
    assert policies["sgd/Buses/find_bus"].descriptions == ("Find a bus", "bus search", "Look up buses")


def test_a_request_is_the_dialogue_up_to_a_turn_of_the_user(tmp_path: Path) -> None:
    source = read(tmp_path, [user("bus?", FIND), assistant("Where?"), user("To Rome, and buy", BUY)])
    assert labels(source) == [
        ("bus?", "sgd/Buses/find_bus"),
        ("To Rome, and buy", "sgd/Buses/buy_bus_ticket"),
    ]
    first, second = source.requests
    assert [message.text for message in second.messages] == ["bus?", "Where?", "To Rome, and buy"]
    assert (first.earlier, second.earlier) == (frozenset(), {"sgd/Buses/find_bus"})
    assert first.group == second.group == "sgd/1_0"


def test_of_two_active_intents_the_new_one_is_right(tmp_path: Path) -> None:
    source = read(
        tmp_path, [user("bus?", FIND), assistant("At 9."), user("Fine. A hotel there?", FIND, HOTEL)]
    )
    assert labels(source)[1:] == [("Fine. A hotel there?", "sgd/Hotels/search_hotel")]
    assert source.requests[1].also == {"sgd/Buses/find_bus"}


def test_two_new_intents_are_ambiguous(tmp_path: Path) -> None:
    assert labels(read(tmp_path, [user("a bus and a hotel", FIND, HOTEL)])) == []


def test_a_turn_without_an_active_intent_asks_for_nothing(tmp_path: Path) -> None:
    source = read(tmp_path, [user("bus?", FIND), assistant("At 9."), user("No, not now", OVER)])
    assert labels(source) == [("bus?", "sgd/Buses/find_bus")]


def test_of_four_dialogues_one_keeps_its_thanks(tmp_path: Path) -> None:
    dialogue = [user("bus?", FIND), assistant("At 9."), user("Great, thanks!", FIND)]
    source = read(tmp_path, *[dialogue] * 8)
    assert [request.group for request in source.requests if request.user_turns == 2] == ["sgd/1_0", "sgd/1_4"]


def test_thanks_that_come_with_a_new_wish_are_kept(tmp_path: Path) -> None:
    dialogue = [user("bus?", FIND), assistant("At 9."), user("Thanks, find me a hotel", HOTEL)]
    source = read(tmp_path, *[dialogue] * 2)
    assert labels(source)[-1] == ("Thanks, find me a hotel", "sgd/Hotels/search_hotel")


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("That's all, bye", True),
        ("Thank you so much.", True),
        ("THANKS", True),
        ("Thanks. What does it cost?", False),
        ("The second one", False),
    ],
)
def test_closing_turns(text: str, closing: bool) -> None:
    assert is_closing(text) is closing


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train.jsonl", '{"id": "1_0"}', r"train\.jsonl:1: is not a dialogue"),
        (
            "train.jsonl",
            json.dumps({"id": "1_0", "turns": [user("hi", ("Planes_1", "FindPlane"))]}),
            r"train\.jsonl:1: is not a dialogue: .*FindPlane",
        ),
        ("train_schema.json", "{}", "does not have in the schema"),
        ("train_schema.json", "[1]", "must be a list of services"),
        ("policies.yaml", DESCRIPTIONS.partition("- service: Hotels_1")[0], "Hotels_1/SearchHotel"),
    ],
)
def test_a_wrong_place_is_named(tmp_path: Path, name: str, content: str, reason: str) -> None:
    read(tmp_path, [user("bus?", FIND)])
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=reason):
        read_sgd(tmp_path, tmp_path / "policies.yaml")
