import dataclasses
import io
import json
import re
from typing import Any

import pytest

from archroute import Decision, Outcome, RankedPolicy
from archroute.commands.report import as_document, as_report


class Stream(io.TextIOWrapper):
    def __init__(self, encoding: str = "utf-8", *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def changed(decision: Decision, **values: Any) -> Decision:
    return dataclasses.replace(decision, **values)


def test_a_match_is_reported(decision: Decision) -> None:
    assert as_report(decision, Stream()).splitlines() == [
        "code_generation  87.5 %",
        "",
        "> code_generation   87.5 %  ██████████████████",
        "  bug_fixing        10.0 %  ██",
        "  other              2.5 %",
        "",
        "models      large-coder, small-coder",
        "time        41.3 ms (queue 0.1, tokenize 2.0, inference 38.0)",
        "tokens      412 in the prompt, 380 of them cached; 1 forward pass",
        "decided by  llm-gateway (sha256:cdcdcdcdcdcd), model sha256:abababababab, "
        "prompt arch-router/model-card, on cpu",
    ]


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        (Outcome.OTHER, "no policy fits  87.5 %"),
        (Outcome.LOW_CONFIDENCE, "no policy is probable enough  87.5 %"),
        (Outcome.UNRECOGNIZED, "the server gave an outcome that this version does not know  87.5 %"),
    ],
)
def test_no_match_does_not_look_like_one(decision: Decision, outcome: Outcome, headline: str) -> None:
    report = as_report(changed(decision, outcome=outcome, policy=None, models=()), Stream()).splitlines()
    assert report[0] == headline
    assert "models      none" in report
    assert not any(line.startswith(">") for line in report)


@pytest.mark.parametrize(
    ("policy", "headline"),
    [
        ("bug_fixing", "bug_fixing  by default, no decision in time"),
        (None, "no decision in time, and the policy set has no default policy"),
    ],
)
def test_a_fallback_does_not_look_like_a_match(decision: Decision, policy: str | None, headline: str) -> None:
    fallback = changed(decision, outcome=Outcome.FALLBACK, policy=policy, probability=0.0, ranking=())
    report = as_report(fallback, Stream()).splitlines()
    assert report[0] == headline
    assert report[1:3] == ["", ""]


def test_the_choice_is_marked_where_it_does_not_lead(decision: Decision) -> None:
    lines = as_report(changed(decision, policy="bug_fixing"), Stream()).splitlines()
    assert [line[0] for line in lines[2:5]] == [" ", ">", " "]


@pytest.mark.parametrize(
    ("dropped_messages", "dropped_tokens", "said"),
    [(1, 1, "1 message and 1 token, to fit"), (3, 512, "3 messages and 512 tokens, to fit")],
)
def test_what_was_cut_is_said(
    decision: Decision, dropped_messages: int, dropped_tokens: int, said: str
) -> None:
    tokens = dataclasses.replace(
        decision.tokens, dropped_messages=dropped_messages, dropped_tokens=dropped_tokens
    )
    assert f"cut         {said}" in as_report(changed(decision, tokens=tokens), Stream())
    assert "cut" not in as_report(decision, Stream())


def test_policies_of_the_request_are_said_to_be_so(decision: Decision) -> None:
    revisions = dataclasses.replace(decision.revisions, policy_set="")
    report = as_report(changed(decision, revisions=revisions), Stream())
    assert "the policies of the request (sha256:cdcdcdcdcdcd)" in report


def test_percentages_stand_in_a_column_whatever_the_names(decision: Decision) -> None:
    names = ("a", "日本語", "emoji 🚀", "e\u0301tude", "a-name-that-is-long")
    ranking = tuple(RankedPolicy(name, 0.2) for name in names)
    lines = as_report(changed(decision, ranking=ranking), Stream()).splitlines()[2:7]
    # What a terminal shows of each: two columns for a wide character, none for a combining mark.
    shown = (1, 6, 8, 5, 19)
    starts = [
        line.index("20.0 %") - len(name) + columns
        for line, name, columns in zip(lines, names, shown, strict=True)
    ]
    assert len(set(starts)) == 1


def test_names_cannot_steer_the_terminal(decision: Decision) -> None:
    evil = "\x1b[2Jname\r\n\u202e"
    values = {
        "policy": evil,
        "ranking": (RankedPolicy(evil, 1.0),),
        "models": (evil,),
        "revisions": dataclasses.replace(decision.revisions, policy_set=evil),
    }
    report = as_report(changed(decision, **values), Stream())
    assert report.count("\\x1b[2Jname\\r\\n\\u202e") == 4
    assert all(char.isprintable() or char == "\n" for char in report)


def test_a_narrow_encoding_gets_plain_bars(decision: Decision) -> None:
    report = as_report(decision, Stream("ascii"))
    assert "##################" in report
    assert report.isascii()


@pytest.mark.parametrize(
    ("terminal", "no_color", "bold"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_only_a_terminal_that_wants_it_gets_colour(
    decision: Decision, monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str, bold: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    report = as_report(decision, Stream(terminal=terminal))
    assert report.startswith("\x1b[1mcode_generation\x1b[0m") is bold
    assert bool(re.search("\x1b", report)) is bold


def test_what_was_decided_before_is_said_to_be(decision: Decision) -> None:
    report = as_report(changed(decision, from_decision_cache=True), Stream())
    assert "tokens      412 in the prompt, which was decided a moment ago; no forward pass" in report


def test_what_was_calibrated_is_said_to_be(decision: Decision) -> None:
    revisions = dataclasses.replace(decision.revisions, temperature=1.2345)
    report = as_report(changed(decision, revisions=revisions), Stream())
    assert ", on cpu, at temperature 1.23" in report
    assert "temperature" not in as_report(decision, Stream())


def test_the_document_is_stable(decision: Decision) -> None:
    assert json.loads(as_document(decision)) == {
        "policy": "code_generation",
        "outcome": "matched",
        "probability": 0.875,
        "ranking": [
            {"policy": "code_generation", "probability": 0.875},
            {"policy": "bug_fixing", "probability": 0.1},
            {"policy": "other", "probability": 0.025},
        ],
        "models": ["large-coder", "small-coder"],
        "revisions": {
            "bundle_digest": "sha256:" + "ab" * 32,
            "prompt_variant": "arch-router/model-card",
            "policy_set": "llm-gateway",
            "policy_set_revision": "sha256:" + "cd" * 32,
            "provider": "cpu",
            "temperature": None,
        },
        "tokens": {
            "prompt_tokens": 412,
            "cached_tokens": 380,
            "dropped_tokens": 0,
            "dropped_messages": 0,
            "forward_passes": 1,
        },
        "timings": {"total": 0.0413, "queue": 0.0001, "tokenize": 0.002, "inference": 0.038},
        "session_id": "session-7",
        "from_decision_cache": False,
        "fallback_reason": "",
    }


def test_a_document_without_a_policy_says_null(decision: Decision) -> None:
    document = json.loads(as_document(changed(decision, outcome=Outcome.OTHER, policy=None, models=())))
    assert (document["policy"], document["outcome"], document["models"]) == (None, "other", [])
