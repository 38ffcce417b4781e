"""The requests that are measured: real dialogues and real intents (see data/README.md)."""

import json
from pathlib import Path

from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet

DATA = Path(__file__).parent / "data"


def read_dialogues() -> list[list[Message]]:
    """Return two hundred dialogues, oldest message first, the first from the user."""
    with (DATA / "sgd-sample.jsonl").open(encoding="utf-8") as lines:
        return [
            [Message(Role[turn["role"].upper()], turn["content"]) for turn in json.loads(line)["turns"]]
            for line in lines
        ]


def policies(count: int) -> PolicySet:
    """Return the first `count` intents of the services as policies, numbered on where there are too few."""
    intents = json.loads((DATA / "sgd-policies.json").read_text(encoding="utf-8"))
    chosen = []
    for index in range(count):
        intent = intents[index % len(intents)]
        round_number = index // len(intents)
        suffix = f".{round_number}" if round_number else ""
        chosen.append(Policy(intent["name"] + suffix, intent["description"]))
    return PolicySet(f"sgd-{count}", tuple(chosen))


def conversation(dialogue: list[Message], turns: int) -> list[Message]:
    """Return the dialogue up to its `turns`-th user message."""
    return dialogue[: 2 * turns - 1]
