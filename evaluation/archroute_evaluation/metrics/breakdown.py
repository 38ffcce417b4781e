"""Accuracy by what the examples are like."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archroute_evaluation.metrics.outcome import CONVERSATION_TAG, Outcome
from archroute_evaluation.metrics.proportion import Proportion

# A tag with more values than this names the examples instead of grouping them.
MAX_TAG_VALUES = 40

_POLICY_RANGES = ((1, 2), (3, 5), (6, 10), (11, 20), (21, 40))
_LAST_TURN_GROUP = 5
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Group:
    """Examples that are alike, and how many of them were answered right."""

    label: str
    accuracy: Proportion


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All examples, in groups by one property."""

    title: str
    groups: tuple[Group, ...]


# Groups are shown in this order: by the number, then by the label.
_Key = tuple[int, str]


def breakdowns(outcomes: Sequence[Outcome]) -> list[Breakdown]:
    """Group by the number of policies, the user's turns, the language, and each tag that has few values."""
    return [
        Breakdown("policies", _grouped((_policies(outcome.policies), outcome) for outcome in outcomes)),
        Breakdown("turns of the user", _grouped((_turns(outcome.turns), outcome) for outcome in outcomes)),
        Breakdown("language", _grouped(((0, outcome.language or _UNKNOWN), outcome) for outcome in outcomes)),
        *_by_tag(outcomes),
    ]


def _by_tag(outcomes: Sequence[Outcome]) -> Iterator[Breakdown]:
    for tag in sorted({tag for outcome in outcomes for tag in outcome.tags} - {CONVERSATION_TAG}):
        groups = _grouped(((0, outcome.tags[tag]), outcome) for outcome in outcomes if tag in outcome.tags)
        if len(groups) <= MAX_TAG_VALUES:
            yield Breakdown(tag, groups)


def _grouped(keyed: Iterable[tuple[_Key, Outcome]]) -> tuple[Group, ...]:
    grouped: dict[_Key, list[bool]] = {}
    for key, outcome in keyed:
        grouped.setdefault(key, []).append(outcome.right)
    return tuple(Group(key[1], Proportion.of(grouped[key])) for key in sorted(grouped))


def _policies(count: int) -> _Key:
    for low, high in _POLICY_RANGES:
        if count <= high:
            return low, f"{low} to {high}"
    most = _POLICY_RANGES[-1][1] + 1
    return most, f"{most} and more"


def _turns(count: int) -> _Key:
    if count >= _LAST_TURN_GROUP:
        return _LAST_TURN_GROUP, f"{_LAST_TURN_GROUP} and more"
    return count, str(count)
