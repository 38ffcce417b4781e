"""Findings: what is wrong with a policy set, and what is doubtful about it."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from archroute_server.engine.policy_set_size import PolicySetSize
from archroute_server.router.errors import InvalidRequest, shorten
from archroute_server.router.policy import OTHER, Policy, violations

# Of the runs of three characters that either of two texts has, the share that both have.
_NAMES_ALIKE = 0.75
_DESCRIPTIONS_ALIKE = 0.8
# Beginnings say enough, and every policy is compared with every other.
_COMPARED_CHARACTERS = 400

_Runs = frozenset[str]


class Severity(Enum):
    """Whether a set with the finding can be used."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a policy set. `code` is stable and made for programs."""

    severity: Severity
    code: str
    field: str
    """A path such as `policies[2].name`."""
    description: str


def errors(name: str, policies: Sequence[Policy], default_policy: str | None) -> list[Finding]:
    """Return everything that keeps these from being a policy set."""
    return [
        Finding(Severity.ERROR, "INVALID", violation.field, violation.description)
        for violation in violations(name, policies, default_policy)
    ]


def errors_of_model(error: InvalidRequest) -> list[Finding]:
    """Return why the model cannot decide by a policy set, as the engine says it."""
    return [
        Finding(Severity.ERROR, "NOT_SERVABLE", violation.field, violation.description)
        for violation in error.violations
    ]


def warnings(policies: Sequence[Policy], size: PolicySetSize) -> list[Finding]:
    """Return what is doubtful about a set without errors; takes up to a second for the largest."""
    found = [*_names(policies), *_descriptions(policies), *_models(policies), *_size(size)]
    return [Finding(Severity.WARNING, *each) for each in found]


_Found = tuple[str, str, str]


def _names(policies: Sequence[Policy]) -> Iterator[_Found]:
    first: dict[str, int] = {}
    for index, policy in enumerate(policies):
        field, plain = f"policies[{index}].name", _plain(policy.name)
        if plain == OTHER:
            yield (
                "NAME_LIKE_OTHER",
                field,
                f"{shorten(policy.name)!r} can be taken for {OTHER!r}, the answer that no policy fits; say "
                "what it covers",
            )
        earlier = first.setdefault(plain, index)
        if earlier != index:
            yield (
                "NAMES_DIFFER_IN_FORM",
                field,
                f"{shorten(policy.name)!r} differs from policies[{earlier}].name only in case, spaces or "
                "punctuation; the model hardly tells them apart",
            )
    yield from _alike(
        policies,
        lambda policy: policy.name,
        _NAMES_ALIKE,
        lambda index, earlier: (
            "NAMES_ALIKE",
            f"policies[{index}].name",
            f"{shorten(policies[index].name)!r} is almost policies[{earlier}].name, "
            f"{shorten(policies[earlier].name)!r}; name what is different about them",
        ),
    )


def _descriptions(policies: Sequence[Policy]) -> Iterator[_Found]:
    for index, policy in enumerate(policies):
        if _plain(policy.description) == _plain(policy.name):
            yield (
                "DESCRIPTION_REPEATS_NAME",
                f"policies[{index}].description",
                "says no more than the name; list what the policy covers",
            )
    first: dict[str, int] = {}
    for index, policy in enumerate(policies):
        earlier = first.setdefault(_plain(policy.description), index)
        if earlier != index:
            yield (
                "DESCRIPTIONS_ALIKE",
                f"policies[{index}].description",
                f"is that of policies[{earlier}]; say what is different about them",
            )
    yield from _alike(
        policies,
        lambda policy: policy.description,
        _DESCRIPTIONS_ALIKE,
        lambda index, earlier: (
            "DESCRIPTIONS_ALIKE",
            f"policies[{index}].description",
            f"says almost the same as that of policies[{earlier}]; say what is different about them",
        ),
    )


def _models(policies: Sequence[Policy]) -> Iterator[_Found]:
    if any(policy.models for policy in policies):
        for index, policy in enumerate(policies):
            if not policy.models:
                yield "NO_MODELS", f"policies[{index}].models", "is empty, while other policies name models"


def _size(size: PolicySetSize) -> Iterator[_Found]:
    left = size.max_prompt_tokens - size.prompt_tokens
    if left < size.prompt_tokens:
        yield (
            "LITTLE_ROOM",
            "policies",
            f"take {size.prompt_tokens} of the {size.max_prompt_tokens} tokens of a prompt, so that a "
            f"conversation is cut to {left}; use fewer or shorter ones, or raise --max-prompt-tokens",
        )
    if size.branch_tokens > size.max_branch_tokens:
        yield (
            "DECIDED_GREEDILY",
            "policies",
            f"have names whose branches take {size.branch_tokens} tokens, and --tree-tokens allows "
            f"{size.max_branch_tokens}: decisions take longer, and the ranking is not complete",
        )


def _alike(
    policies: Sequence[Policy],
    text: Callable[[Policy], str],
    threshold: float,
    found: Callable[[int, int], _Found],
) -> Iterator[_Found]:
    """Yield each policy that is much like an earlier one, without being the same in all but form."""
    plain = [_plain(text(policy)) for policy in policies]
    runs = [_runs(each) for each in plain]
    for index in range(len(policies)):
        for earlier in range(index):
            if plain[earlier] != plain[index] and _likeness(runs[earlier], runs[index]) >= threshold:
                yield found(index, earlier)
                break


def _likeness(one: _Runs, other: _Runs) -> float:
    smaller, larger = sorted((len(one), len(other)))
    # No more can be in common than the smaller has; most pairs end here.
    if not smaller or smaller < larger * min(_NAMES_ALIKE, _DESCRIPTIONS_ALIKE):
        return 0.0
    common = len(one & other)
    return common / (smaller + larger - common)


def _runs(plain: str) -> _Runs:
    return frozenset(plain[start : start + 3] for start in range(max(1, len(plain) - 2)))


def _plain(text: str) -> str:
    """Return the letters, their marks, and the digits alone, in one case and one form."""
    folded = unicodedata.normalize("NFKC", text[:_COMPARED_CHARACTERS]).casefold()
    return "".join(each for each in folded if unicodedata.category(each)[0] in "LMN") or folded
