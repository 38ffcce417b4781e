"""Policies: what a user can want, in words, and which downstream models serve it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

from archroute_server.router.errors import InvalidRequest, Violation, shorten
from archroute_server.router.unicode_text import control_character, has_lone_surrogate

OTHER = "other"
"""The answer that means: no policy fits. No policy may have this name."""

MAX_POLICIES = 500
MAX_NAME_CHARACTERS = 256
MAX_DESCRIPTION_CHARACTERS = 4096
MAX_MODELS = 16
MAX_MODEL_CHARACTERS = 256

# An error reaches the caller in response metadata, which gRPC keeps to a few kilobytes.
MAX_VIOLATIONS = 10


@dataclass(frozen=True)
class Policy:
    """One thing a user can want. A plain value: `PolicySet` says whether it is valid."""

    name: str
    description: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class PolicySet:
    """Policies to choose among, in the order in which the model reads them; valid once built.

    `name` is empty for policies that came with a request. Raises `InvalidRequest` with field paths such as
    `policies[2].name`.
    """

    name: str
    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        violations = list(_violations(self.policies))
        if len(violations) > MAX_VIOLATIONS:
            more = len(violations) - MAX_VIOLATIONS
            violations[MAX_VIOLATIONS:] = [Violation("policies", f"{more} more fields are wrong")]
        if violations:
            raise InvalidRequest(*violations)

    @cached_property
    def revision(self) -> str:
        """`sha256:<hex>` of the policies in canonical JSON; the set's name does not take part."""
        canonical = json.dumps(
            [asdict(policy) for policy in self.policies], sort_keys=True, separators=(",", ":")
        )
        return f"sha256:{hashlib.sha256(canonical.encode('ascii')).hexdigest()}"


def _violations(policies: tuple[Policy, ...]) -> Iterator[Violation]:
    if not policies:
        yield Violation("policies", "is empty; give at least one policy")
    if len(policies) > MAX_POLICIES:
        yield Violation("policies", f"holds {len(policies)} policies; the limit is {MAX_POLICIES}")
        return
    first_with_name: dict[str, int] = {}
    for index, policy in enumerate(policies):
        path = f"policies[{index}]"
        yield from _name_violations(f"{path}.name", policy.name)
        first = first_with_name.setdefault(policy.name, index)
        if policy.name and first != index:
            yield Violation(
                f"{path}.name", f"{shorten(policy.name)!r} is already the name of policies[{first}]"
            )
        yield from _text_violations(
            f"{path}.description", policy.description, MAX_DESCRIPTION_CHARACTERS, allowed="\n\t"
        )
        if len(policy.models) > MAX_MODELS:
            yield Violation(f"{path}.models", f"holds {len(policy.models)} models; the limit is {MAX_MODELS}")
            continue
        for position, model in enumerate(policy.models):
            yield from _text_violations(f"{path}.models[{position}]", model, MAX_MODEL_CHARACTERS)


def _name_violations(field: str, name: str) -> Iterator[Violation]:
    yield from _text_violations(field, name, MAX_NAME_CHARACTERS)
    if name == OTHER:
        yield Violation(
            field, f"{OTHER!r} is reserved for the answer that no policy fits; choose another name"
        )
    elif name.strip() and name != name.strip():
        yield Violation(field, f"{shorten(name)!r} begins or ends with white space; remove it")


def _text_violations(field: str, text: str, limit: int, *, allowed: str = "") -> Iterator[Violation]:
    if not text.strip():
        yield Violation(field, "is empty")
    elif len(text) > limit:
        yield Violation(field, f"is {len(text)} characters long; the limit is {limit}")
    elif has_lone_surrogate(text):
        yield Violation(field, "is not valid Unicode: it holds half of a surrogate pair")
    elif (character := control_character(text, allowed=allowed)) is not None:
        yield Violation(field, f"holds the control character U+{ord(character):04X}; remove it")
