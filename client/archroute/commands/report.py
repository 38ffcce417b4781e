"""Shows a decision: as a report for a person, and as a JSON document for a program."""

import dataclasses
import json
import os
import unicodedata
from typing import TextIO

from archroute.decision import Decision, Outcome

__all__ = ["as_document", "as_report"]

_BAR_WIDTH = 20
_DIGEST_SHOWN = len("sha256:") + 12

_OUTCOMES = {
    Outcome.OTHER: "no policy fits",
    Outcome.LOW_CONFIDENCE: "no policy is probable enough",
    Outcome.FALLBACK: "no decision in time, and the policy set has no default policy",
    Outcome.UNRECOGNIZED: "the server gave an outcome that this version does not know",
}


def as_document(decision: Decision) -> str:
    """The decision as JSON, with the names of `Decision`'s fields; times are in seconds."""
    return json.dumps(dataclasses.asdict(decision) | {"outcome": decision.outcome.value}, indent=2)


def as_report(decision: Decision, stream: TextIO) -> str:
    """The decision for a person: what was chosen, the ranking, and how it came about.

    In bold and with block characters where `stream` can show them. Without a newline at its end.
    """
    facts = [
        ("models", ", ".join(map(_printable, decision.models)) or "none"),
        ("time", _time(decision)),
        ("tokens", _tokens(decision)),
        ("cut", _cut(decision)),
        ("decided by", _decided_by(decision)),
    ]
    width = max(len(label) for label, _ in facts)
    lines = [
        _headline(decision, bold=_can_show_colour(stream)),
        "",
        *_ranking(decision, "█" if _can_encode("█", stream) else "#"),
        "",
        *(f"{label:{width}}  {value}" for label, value in facts if value),
    ]
    return "\n".join(lines)


def _headline(decision: Decision, *, bold: bool) -> str:
    chosen = _OUTCOMES[decision.outcome] if decision.policy is None else _printable(decision.policy)
    if bold:
        chosen = f"\x1b[1m{chosen}\x1b[0m"
    if decision.outcome is Outcome.FALLBACK:
        return chosen if decision.policy is None else f"{chosen}  by default, no decision in time"
    return f"{chosen}  {_percent(decision.probability).strip()}"


def _ranking(decision: Decision, block: str) -> list[str]:
    names = [_printable(ranked.policy) for ranked in decision.ranking]
    width = max(map(_columns, names), default=0)
    lines = []
    for name, ranked in zip(names, decision.ranking, strict=True):
        bar = block * round(ranked.probability * _BAR_WIDTH)
        padding = " " * (width - _columns(name))
        # The choice need not be the most probable: see `Decision.ranking`.
        mark = ">" if ranked.policy == decision.policy else " "
        lines.append(f"{mark} {name}{padding}  {_percent(ranked.probability)}  {bar}".rstrip())
    return lines


def _time(decision: Decision) -> str:
    timings = decision.timings
    parts = (("queue", timings.queue), ("tokenize", timings.tokenize), ("inference", timings.inference))
    shares = ", ".join(f"{label} {seconds * 1e3:.1f}" for label, seconds in parts)
    return f"{timings.total * 1e3:.1f} ms ({shares})"


def _tokens(decision: Decision) -> str:
    tokens = decision.tokens
    if decision.from_decision_cache:
        return f"{tokens.prompt_tokens} in the prompt, which was decided a moment ago; no forward pass"
    passes = _count(tokens.forward_passes, "forward pass", "forward passes")
    return f"{tokens.prompt_tokens} in the prompt, {tokens.cached_tokens} of them cached; {passes}"


def _cut(decision: Decision) -> str:
    tokens = decision.tokens
    if not tokens.dropped_tokens and not tokens.dropped_messages:
        return ""
    messages = _count(tokens.dropped_messages, "message", "messages")
    return f"{messages} and {_count(tokens.dropped_tokens, 'token', 'tokens')}, to fit the model's prompt"


def _decided_by(decision: Decision) -> str:
    revisions = decision.revisions
    policies = _printable(revisions.policy_set) or "the policies of the request"
    calibrated = "" if revisions.temperature is None else f", at temperature {revisions.temperature:.3g}"
    return (
        f"{policies} ({revisions.policy_set_revision[:_DIGEST_SHOWN]}), "
        f"model {revisions.bundle_digest[:_DIGEST_SHOWN]}, "
        f"prompt {_printable(revisions.prompt_variant)}, on {_printable(revisions.provider)}"
        f"{calibrated}"
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _percent(probability: float) -> str:
    return f"{probability * 100:5.1f} %"


def _printable(text: str) -> str:
    # A name comes from a file or a server: it must not move the cursor or change colours.
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _columns(text: str) -> int:
    """How wide a terminal shows `text`: two columns for an East Asian or emoji character, none for a mark."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _can_show_colour(stream: TextIO) -> bool:
    # https://no-color.org
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _can_encode(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
