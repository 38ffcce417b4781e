"""Policies: what a user can want, in words, and which downstream models serve it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
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
    `policies[2].name`. Names are shown to people, so control characters and surrounding white space are
    refused there; quotes, backslashes, emoji and names that begin with another name are fine.

    `default_policy` is the name of the policy that a fallback names; None for no policy.
    """

    name: str
    policies: tuple[Policy, ...]
    default_policy: str | None = None

    def __post_init__(self) -> None:
        found = tuple(violations(self.name, self.policies, self.default_policy))
        if found:
            raise InvalidRequest(*found)

    @cached_property
    def revision(self) -> str:
        """`sha256:<hex>` of the policies in canonical JSON, and of the default policy if there is one.

        The set's name does not take part.
        """
        content: object = [asdict(policy) for policy in self.policies]
        if self.default_policy is not None:
            content = {"policies": content, "default_policy": self.default_policy}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(canonical.encode('ascii')).hexdigest()}"


def violations(name: str, policies: Sequence[Policy], default_policy: str | None) -> Iterator[Violation]:
    """Yield everything that keeps these from being a policy set, with the paths that `PolicySet` gives."""
    if name and (problem := _name_problem(name)):
        yield Violation("name", problem)
    if not policies:
        yield Violation("policies", "is empty; give at least one policy")
    if len(policies) > MAX_POLICIES:
        yield Violation("policies", f"holds {len(policies)} policies; the limit is {MAX_POLICIES}")
        return
    if default_policy is not None and default_policy not in {policy.name for policy in policies}:
        reason = f"{shorten(default_policy)!r} is not the name of a policy of the set"
        yield Violation("default_policy", reason)
    first_with_name: dict[str, int] = {}
    for index, policy in enumerate(policies):
        path = f"policies[{index}]"
        first = first_with_name.setdefault(policy.name, index)
        if problem := _name_problem(policy.name):
            yield Violation(f"{path}.name", problem)
        elif policy.name == OTHER:
            reason = f"{OTHER!r} is reserved for the answer that no policy fits; choose another name"
            yield Violation(f"{path}.name", reason)
        elif first != index:
            reason = f"{shorten(policy.name)!r} is already the name of policies[{first}]; rename one of them"
            yield Violation(f"{path}.name", reason)
        if problem := _text_problem(policy.description, MAX_DESCRIPTION_CHARACTERS, allowed="\n\t"):
            yield Violation(f"{path}.description", problem)
        if len(policy.models) > MAX_MODELS:
            reason = f"holds {len(policy.models)} models; the limit is {MAX_MODELS}"
            yield Violation(f"{path}.models", reason)
            continue
        for position, model in enumerate(policy.models):
            if problem := _text_problem(model, MAX_MODEL_CHARACTERS):
                yield Violation(f"{path}.models[{position}]", problem)


def _name_problem(name: str) -> str | None:
    if problem := _text_problem(name, MAX_NAME_CHARACTERS):
        return problem
    if name != name.strip():
        return f"{shorten(name)!r} begins or ends with white space; remove it"
    return None


def _text_problem(text: str, limit: int, *, allowed: str = "") -> str | None:
    if not text.strip():
        return "is empty"
    if len(text) > limit:
        return f"is {len(text)} characters long; the limit is {limit}"
    if has_lone_surrogate(text):
        return "is not valid Unicode: it holds half of a surrogate pair"
    if character := control_character(text, allowed=allowed):
        return f"holds the control character U+{ord(character):04X}; remove it"
    return None
