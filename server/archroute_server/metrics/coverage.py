"""Coverage: the share of answers that the model decided; here is what decided a request."""

from enum import Enum

from archroute_server.telemetry.finished_request import FinishedRequest

DECIDING_METHODS = frozenset({"Route", "RouteStream"})

# What the caller got wrong, or gave up: no answer was owed. A request that is too large, or one too many of
# its caller, has the code of an overload.
CALLERS_CODES = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
    }
)
CALLERS_REASONS = frozenset({"MESSAGE_TOO_LARGE", "CALLER_BUSY", "CALLER_TOO_FAST"})

FALLBACK = "FALLBACK"
"""The outcome of a request that was answered without a decision."""


class DecidedBy(Enum):
    """Where an answer came from."""

    MODEL = "model"
    DECISION_CACHE = "decision_cache"
    """The model, a moment ago, for the same prompt."""
    FALLBACK = "fallback"
    """The policy set's default, since the time for a decision ran out."""
    ERROR = "error"
    """Nothing: there was no answer, and the caller was not at fault."""


def decided_by(request: FinishedRequest) -> DecidedBy | None:
    """Say what decided a request; None if it asked for no decision, or none was owed."""
    if request.method not in DECIDING_METHODS:
        return None
    decided = request.decided
    if request.code == "OK" and decided is not None:
        if decided.outcome == FALLBACK:
            return DecidedBy.FALLBACK
        return DecidedBy.DECISION_CACHE if decided.from_decision_cache else DecidedBy.MODEL
    if request.code in CALLERS_CODES or request.reason in CALLERS_REASONS:
        return None
    return DecidedBy.ERROR
