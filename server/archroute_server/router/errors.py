"""What can be wrong with a request.

Exception
├── InvalidRequest       the caller sent something that cannot be decided; names each wrong field
└── PolicySetNotFound    the caller named a policy set that this server does not hold
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# An error reaches the caller in response metadata, which gRPC keeps to a few kilobytes.
MAX_VIOLATIONS = 8


@dataclass(frozen=True)
class Violation:
    """One wrong field of a request.

    `field` is a path such as `policies[2].name` or `messages`. `description` says what is wrong and what to
    do about it, and never quotes the conversation.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class InvalidRequest(Exception):
    """A request that cannot be decided as it is.

    `violations` names the wrong fields that were found, the first `MAX_VIOLATIONS` of them.
    """

    def __init__(self, *violations: Violation) -> None:
        if not violations:
            raise ValueError("an invalid request has at least one violation")
        self.violations: tuple[Violation, ...] = violations[:MAX_VIOLATIONS]
        message = "; ".join(map(str, self.violations))
        omitted = len(violations) - len(self.violations)
        super().__init__(f"{message}; and {omitted} more" if omitted else message)


class PolicySetNotFound(Exception):
    """No policy set of that name; `name` is empty if the caller asked for the default one."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known: Sequence[str] = tuple(known)
        wanted = f"there is no policy set {shorten(name)!r}" if name else "there is no default policy set"
        if self.known:
            remedy = f"this server holds {', '.join(map(repr, self.known))}"
        else:
            remedy = "this server holds none, so send the policies with the request"
        super().__init__(f"{wanted}: {remedy}")


def shorten(text: str, limit: int = 60) -> str:
    """Cut a name that a caller chose, so that an error which quotes it stays small."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
