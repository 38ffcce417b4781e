"""The Schema-Guided Dialogue data set: conversations of several turns with the services of an assistant.

Rastogi et al. 2020, "Towards Scalable Multi-Domain Conversational Agents", CC BY-SA 4.0. The folder holds
`train_schema.json` and `train.jsonl`, one dialogue a line:

    {"id": ..., "turns": [{"role": "user", "content": ..., "active": [["Hotels_1", "SearchHotel"]]},
                          {"role": "assistant", "content": ...}, ...]}

`active` has an intent for each service that the turn is about, `NONE` if the user wants nothing of it any
more. The rewordings of the intents are this project's; they give services of a domain that offer the same
(`Buses_1` and `Buses_2` both find a bus) the same policy.

Which turns become requests:

- A turn with one active intent: it is the right answer.
- A turn with two, if just one of them was not active in the turn before: the user moves on to that one. The
  other one is acceptable too.
- No turn without an active intent ("No, that's all, thanks"): whether such a turn belongs to the policy
  before it or to none is a matter of taste. For the same reason, of the turns that only thank or agree while
  an intent is still active, a part is kept.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.json_file import read_json, read_json_lines
from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest, Source
from archroute_export.finetune.sources.yaml_file import read_yaml
from archroute_server.router.message import Message, Role

NAME = "sgd"
_NO_INTENT = "NONE"
# Of closing turns, each fourth dialogue's are kept.
_CLOSING_TURNS_KEPT = 4
_CLOSING = re.compile(
    r"\b(thanks|thank you|(that'?s|that is|that'?ll be|that will be) all|all i need|appreciate|bye)\b",
    re.IGNORECASE,
)

# A service and one of its intents.
_Intent = tuple[str, str]


def read_sgd(folder: Path, descriptions: Path) -> Source:
    """Read the data set's folder and the file with the wordings of its intents. Raises `SourceError`."""
    schema = _schema(folder / "train_schema.json")
    ids: dict[_Intent, str] = {}
    names: dict[str, tuple[str, str]] = {}
    wordings: dict[str, dict[str, None]] = {}
    for service_node in read_yaml(descriptions).items():
        fields = service_node.mapping(("service", "domain", "intents"))
        service, domain = fields["service"].text(), fields["domain"].text()
        for node in fields["intents"].items():
            entry = node.mapping(("name", "policy", "descriptions"))
            intent = (service, entry["name"].text())
            if intent not in schema:
                raise entry["name"].error(f"is {intent[1]!r}, which {service} does not have in the schema")
            policy = entry["policy"].text()
            policy_id = f"{NAME}/{domain}/{policy}"
            ids[intent] = policy_id
            names[policy_id] = (f"{NAME}/{domain}", policy)
            wordings.setdefault(policy_id, {}).update(dict.fromkeys(entry["descriptions"].texts()))
    missing = sorted("/".join(intent) for intent in schema - ids.keys())
    if missing:
        raise SourceError(descriptions, f"does not describe {', '.join(missing)}")
    policies = tuple(
        LabelledPolicy(policy_id, domain, name, tuple(wordings[policy_id]))
        for policy_id, (domain, name) in names.items()
    )
    requests: list[LabelledRequest] = []
    path = folder / "train.jsonl"
    for number, (line, dialogue) in enumerate(read_json_lines(path)):
        try:
            turns = [(_message(turn), _active(turn)) for turn in dialogue["turns"]]
            keep_closing = number % _CLOSING_TURNS_KEPT == 0
            requests += _requests(f"{NAME}/{dialogue['id']}", turns, ids, keep_closing=keep_closing)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(path, f"is not a dialogue: {error!r}", line=line) from error
    return Source(NAME, (), policies, frozenset(), tuple(requests))


def _schema(path: Path) -> set[_Intent]:
    try:
        return {
            (service["service"], intent["name"])
            for service in read_json(path)
            for intent in service["intents"]
        }
    except (KeyError, TypeError) as error:
        raise SourceError(path, "must be a list of services, each with its intents") from error


def _message(turn: Mapping[str, Any]) -> Message:
    return Message(Role(turn["role"]), str(turn["content"]))


def _active(turn: Mapping[str, Any]) -> list[_Intent]:
    return [(service, intent) for service, intent in turn.get("active", ()) if intent != _NO_INTENT]


def _requests(
    group: str, turns: list[tuple[Message, list[_Intent]]], ids: Mapping[_Intent, str], *, keep_closing: bool
) -> Iterator[LabelledRequest]:
    messages: list[Message] = []
    before: set[str] = set()
    earlier: set[str] = set()
    for message, active in turns:
        messages.append(message)
        if message.role is not Role.USER:
            continue
        now = {ids[intent] for intent in active}
        wanted = now if len(now) == 1 else now - before
        closing = bool(earlier) and wanted <= before and is_closing(message.text)
        if len(wanted) == 1 and (keep_closing or not closing):
            (policy,) = wanted
            yield LabelledRequest(
                tuple(messages),
                policy,
                also=frozenset(now - wanted),
                earlier=frozenset(earlier),
                group=group,
            )
        before = now
        earlier |= now


def is_closing(text: str) -> bool:
    """Say whether a turn only thanks or says that nothing else is wanted; such a turn asks for nothing."""
    return "?" not in text and bool(_CLOSING.search(text))
