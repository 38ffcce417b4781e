import json
from pathlib import Path

import pytest

from archroute.selection import Stickiness, Turn
from archroute_server.router.decision import Decision, Outcome, Ranked
from archroute_server.router.message import Message, Role
from switches import (
    DATA,
    UserTurn,
    count,
    counts_of,
    read_dialogues,
    read_policies,
    table,
    turn_of,
    wanted_switches,
)

HOMES, CALENDAR = ("Homes_1", "FindApartment"), ("Calendar_1", "AddEvent")
NAMES = {HOMES: "find_home", CALENDAR: "add_event"}


def user(*active: tuple[str, str]) -> dict[str, object]:
    return {"role": "user", "content": "Hello", "active": active}


def dialogue(*wanted: str) -> tuple[UserTurn, ...]:
    """One turn for each; an empty one wants nothing."""
    return tuple(UserTurn((), frozenset({name} if name else ())) for name in wanted)


def said(*probabilities: float) -> list[Turn]:
    """Turns with the probability of `a`, the rest being that of `b`."""
    return [Turn("a" if each >= 0.5 else "b", {"a": each, "b": 1 - each}) for each in probabilities]


def test_policies_are_those_that_are_kept_from_training() -> None:
    policies, names = read_policies(DATA / "sgd/policies.yaml", DATA / "splits.yaml")
    assert {service.partition("_")[0] for service, _ in names} == {
        "Homes",
        "Calendar",
        "RideSharing",
        "Flights",
        "Banks",
    }
    assert {policy.name for policy in policies.policies} == set(names.values())


def test_only_dialogues_of_these_policies_are_read(tmp_path: Path) -> None:
    reply = {"role": "assistant", "content": "Hi"}
    dialogues = [
        [user(HOMES), reply, user(("Homes_1", "NONE"))],
        [user(HOMES), reply, user(("Hotels_1", "Find"))],
        [user(CALENDAR)],
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"turns": turns}) + "\n" for turns in dialogues), encoding="utf-8")
    first, second = read_dialogues(path, NAMES, 10)
    assert [turn.wanted for turn in first] == [{"find_home"}, frozenset()]
    hello = Message(Role.USER, "Hello")
    assert first[1].messages == (hello, Message(Role.ASSISTANT, "Hi"), hello)
    assert [turn.wanted for turn in second] == [{"add_event"}]
    assert read_dialogues(path, NAMES, 1) == [first]


def test_a_user_moves_on_when_nothing_of_before_is_wanted() -> None:
    assert wanted_switches(dialogue("a", "", "a", "b", "b", "a")) == 2
    both = UserTurn((), frozenset({"a", "b"}))
    # From `a` over both to `b` is one step on.
    assert wanted_switches((*dialogue("a"), both, *dialogue("b"))) == 1


def test_switches_and_what_they_cost() -> None:
    dialogues = [dialogue("a", "a", "b"), dialogue("a", "a")]
    decided = [said(0.9, 0.45, 0.1), said(0.9, 0.8)]
    without = count("without", Stickiness(margin=0), dialogues, decided)
    assert (without.switches, without.steady, without.right) == (1, 1, 4)
    held = count("held", Stickiness(margin=0.2), dialogues, decided)
    assert (held.switches, held.steady, held.right) == (1, 1, 5)
    stuck = count("stuck", Stickiness(margin=0.9), dialogues, decided)
    assert (stuck.switches, stuck.steady, stuck.right) == (0, 2, 4)


def test_the_table_has_what_users_did_and_every_setting() -> None:
    dialogues, decided = [dialogue("a", "b", "")], [said(0.9, 0.1, 0.1)]
    counts = counts_of(dialogues, decided)
    lines = table(dialogues, counts).splitlines()
    assert lines[2] == "| what the users did | 1 | 0 | |"
    assert lines[3] == "| without hysteresis | 1 | 0 | 100.0% |"
    assert len(lines) == 3 + len(counts)


@pytest.mark.parametrize(
    ("policy", "outcome", "named"),
    [("a", Outcome.MATCHED, "a"), (None, Outcome.OTHER, "other"), (None, Outcome.LOW_CONFIDENCE, None)],
)
def test_a_decision_is_read_as_the_client_does(
    policy: str | None, outcome: Outcome, named: str | None
) -> None:
    decided = Decision(policy, outcome, 0.5, (Ranked("a", 0.5), Ranked("other", 0.5)), ())
    assert turn_of(decided) == Turn(named, {"a": 0.5, "other": 0.5})
