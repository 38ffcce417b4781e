"""How often sessions change their policy, with and without hysteresis: `python bench/switches.py FOLDER`.

The folder is that of Schema-Guided Dialogue, as `archroute examples fetch` leaves it. Its dialogues have an
intent for each turn of the user, and so it is known where the user really moves on. The embedded model, in
this process, decides each turn. The policies are those of the domains that data/splits.yaml keeps from
training, and only dialogues of those domains are taken: so the model has seen neither. The same decisions
then go through `Stickiness` with several margins.
"""

import argparse
import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.progress import track

from archroute.selection import Stickiness, Turn
from archroute.selection.stickiness import OTHER
from archroute_server.embedded import embedded_bundle
from archroute_server.engine.engine import Engine
from archroute_server.engine.loading import load_engine
from archroute_server.router.decision import Decision, Outcome
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet

DATA = Path(__file__).parents[1] / "data"
DIALOGUES = 100
MARGINS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30)
NO_INTENT = "NONE"


@dataclass(frozen=True)
class UserTurn:
    """One turn of a user."""

    messages: tuple[Message, ...]
    """The conversation up to it."""

    wanted: frozenset[str]
    """The names of the policies that its intents belong to; empty if the user wants nothing any more."""


Dialogue = tuple[UserTurn, ...]


@dataclass(frozen=True)
class Count:
    """What came of all dialogues under one setting."""

    label: str
    switches: int
    steady: int
    """Dialogues without a switch."""

    right: int
    """Turns that were held at a policy that the user wanted."""


def read_policies(wordings: Path, splits: Path) -> tuple[PolicySet, dict[tuple[str, str], str]]:
    """The policies that are kept from training, and which one each intent belongs to.

    Services that offer the same share a policy; its description is the first one of the first service.
    """
    held_out = set(yaml.safe_load(splits.read_text(encoding="utf-8"))["test"])
    policies: dict[str, Policy] = {}
    names: dict[tuple[str, str], str] = {}
    for service in yaml.safe_load(wordings.read_text(encoding="utf-8")):
        if f"sgd/{service['domain']}" not in held_out:
            continue
        for intent in service["intents"]:
            policy = Policy(intent["policy"], intent["descriptions"][0])
            policies.setdefault(policy.name, policy)
            names[service["service"], intent["name"]] = policy.name
    return PolicySet("sgd-held-out", tuple(policies.values())), names


def read_dialogues(path: Path, names: dict[tuple[str, str], str], limit: int) -> list[Dialogue]:
    """Dialogues of these intents alone: `limit` of them, from the whole file."""
    found = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            turns = json.loads(line)["turns"]
            intents = {(service, intent) for turn in turns for service, intent in turn.get("active", ())}
            services = {service for service, _ in names}
            if intents and {service for service, _ in intents} <= services:
                found.append(tuple(_user_turns(turns, names)))
    step = max(1, len(found) // limit)
    return found[::step][:limit]


def _user_turns(turns: Sequence[dict], names: dict[tuple[str, str], str]) -> Iterable[UserTurn]:
    messages: tuple[Message, ...] = ()
    for turn in turns:
        messages += (Message(Role(turn["role"]), turn["content"]),)
        if turn["role"] == "user":
            active = [(service, intent) for service, intent in turn["active"] if intent != NO_INTENT]
            yield UserTurn(messages, frozenset(names[each] for each in active))


def turn_of(decision: Decision) -> Turn:
    """A decision, as the client reads it."""
    named = OTHER if decision.outcome is Outcome.OTHER else decision.policy
    return Turn(named, {each.policy: each.probability for each in decision.ranking})


async def decide(engine: Engine, policies: PolicySet, dialogues: Sequence[Dialogue]) -> list[list[Turn]]:
    """What the model says of each turn."""
    return [
        [turn_of((await engine.decide(policies, turn.messages)).decision) for turn in dialogue]
        for dialogue in track(dialogues, description="Deciding")
    ]


def wanted_switches(dialogue: Dialogue) -> int:
    """How often the user really moves on: what was wanted before is wanted no more, and something else is."""
    switches, held = 0, frozenset[str]()
    for turn in dialogue:
        if not turn.wanted:
            continue
        kept = held & turn.wanted
        switches += bool(held and not kept)
        held = kept or turn.wanted
    return switches


def count(
    label: str, stickiness: Stickiness, dialogues: Sequence[Dialogue], decided: Sequence[Sequence[Turn]]
) -> Count:
    """Sends decisions through a setting, as `select` does turn by turn."""
    switches = steady = right = 0
    for dialogue, turns in zip(dialogues, decided, strict=True):
        for number, turn in enumerate(dialogue, start=1):
            holding, _ = stickiness.replay(turns[:number])
            right += holding.policy in turn.wanted
        switches += holding.switches
        steady += not holding.switches
    return Count(label, switches, steady, right)


def table(dialogues: Sequence[Dialogue], counts: Sequence[Count]) -> str:
    """The counts, in Markdown."""
    labelled = sum(bool(turn.wanted) for dialogue in dialogues for turn in dialogue)
    wanted = [wanted_switches(dialogue) for dialogue in dialogues]
    lines = [
        "| Setting | Switches | Dialogues without a switch | Turns at a policy that was wanted |",
        "| --- | ---: | ---: | ---: |",
        f"| what the users did | {sum(wanted)} | {wanted.count(0)} | |",
    ]
    lines += [
        f"| {each.label} | {each.switches} | {each.steady} | {each.right / labelled:.1%} |" for each in counts
    ]
    return "\n".join(lines) + "\n"


def counts_of(dialogues: Sequence[Dialogue], decided: Sequence[Sequence[Turn]]) -> list[Count]:
    """Without hysteresis, and with several margins."""
    unbounded = 10_000
    found = [
        count(
            "without hysteresis" if margin == 0 else f"margin {margin:.2f}",
            Stickiness(margin=margin, max_switches=unbounded),
            dialogues,
            decided,
        )
        for margin in MARGINS
    ]
    default = Stickiness()
    label = f"the default: margin {default.margin:.2f}, at most {default.max_switches} switches"
    return [*found, count(label, default, dialogues, decided)]


async def main() -> None:
    """Decides, counts, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with train.jsonl, as `archroute examples fetch` leaves it")
    parser.add_argument("--dialogues", type=int, default=DIALOGUES)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "switches.md")
    arguments = parser.parse_args()
    policies, names = read_policies(DATA / "sgd/policies.yaml", DATA / "splits.yaml")
    dialogues = read_dialogues(arguments.folder / "train.jsonl", names, arguments.dialogues)
    engine = load_engine(await embedded_bundle(), provider="cpu", threads=0, max_prompt_tokens=4096)
    try:
        decided = await decide(engine, policies, dialogues)
    finally:
        await engine.close(0)
    turns = sum(map(len, dialogues))
    text = (
        f"{len(dialogues)} dialogues with {turns} turns of users, decided by the embedded model "
        f"({engine.identity.bundle_digest[:19]})\namong {len(policies.policies)} policies that it was not "
        f"trained on, by `bench/switches.py`.\n\n{table(dialogues, counts_of(dialogues, decided))}"
    )
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    asyncio.run(main())
