"""What a router is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from archroute_server.router.message import Message
from archroute_server.router.policy import PolicySet


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    policies: PolicySet
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class DecidedBy:
    """What decided, as answers report it; `temperature` is None for a bundle that was never calibrated."""

    bundle_digest: str
    prompt_variant: str
    provider: str
    temperature: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The greedy choice, which may be `other`, with its probability and every other one that is known."""

    name: str
    probability: float
    probabilities: Mapping[str, float]
    decided_by: DecidedBy


class RequestFailed(Exception):
    """A question that was not answered. `status` is the name of a gRPC status code; the message says why."""

    def __init__(self, status: str, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)
