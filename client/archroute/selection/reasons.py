"""How a selection came about: its outcome, and the reason in detail."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

from archroute.decision import Outcome
from archroute.errors import (
    AccessDeniedError,
    CircuitOpenError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidRequestError,
    NoModelFitsError,
    PolicySetChangedError,
    PolicySetNotFoundError,
    ProtocolError,
    RequestCancelledError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
)

__all__ = ["NO_POLICY", "SelectionOutcome", "SelectionReason", "reason_of"]


class SelectionOutcome(enum.Enum):
    """Who named the policy."""

    ROUTED = "routed"
    """The router, now or a moment ago."""

    HELD = "held"
    """The session: it stays with the policy that it had."""

    DEFAULT = "default"
    """Nobody: the model is the declared default."""


class SelectionReason(enum.Enum):
    """Why a selection has its outcome. `outcome` says which one that is."""

    ANSWERED = "answered"
    """The router answered."""

    CACHED = "cached"
    """The router answered exactly the same question a moment ago."""

    NOT_A_USER_TURN = "not_a_user_turn"
    """The conversation ends with a tool's result or the assistant's words: the user asked nothing new."""

    WITHIN_MARGIN = "within_margin"
    """The router named another policy, but not by enough."""

    SWITCHES_SPENT = "switches_spent"
    """The router named another policy, but the session has changed its policy as often as it may."""

    UNSURE = "unsure"
    """The router named no policy, because its best was too improbable."""

    OTHER = "other"
    """The router says that no policy fits."""

    LOW_CONFIDENCE = "low_confidence"
    """The router's best policy was too improbable, and the session had none before."""

    UNRECOGNIZED = "unrecognized"
    """The server is newer and gave an outcome that this client does not know."""

    NO_MODELS = "no_models"
    """The policy has no models, neither in the answer nor in the model map."""

    NO_MODEL_FITS = "no_model_fits"
    """No model of the policy can do what the conversation needs."""

    CIRCUIT_OPEN = "circuit_open"
    """The router failed again and again, so that it was not asked."""

    DEADLINE_EXCEEDED = "deadline_exceeded"
    UNAVAILABLE = "unavailable"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    SERVER_ERROR = "server_error"
    PROTOCOL_ERROR = "protocol_error"
    CANCELLED = "cancelled"
    ACCESS_DENIED = "access_denied"
    INVALID_REQUEST = "invalid_request"
    POLICY_SET_NOT_FOUND = "policy_set_not_found"
    FAILED_PRECONDITION = "failed_precondition"

    CLIENT_ERROR = "client_error"
    """Something failed on this side that was not foreseen, such as a client that is closed already."""

    @property
    def outcome(self) -> SelectionOutcome:
        """The outcome that this is a reason for."""
        return _OUTCOMES.get(self, SelectionOutcome.DEFAULT)


_OUTCOMES: Mapping[SelectionReason, SelectionOutcome] = MappingProxyType(
    {
        SelectionReason.ANSWERED: SelectionOutcome.ROUTED,
        SelectionReason.CACHED: SelectionOutcome.ROUTED,
        SelectionReason.NOT_A_USER_TURN: SelectionOutcome.HELD,
        SelectionReason.WITHIN_MARGIN: SelectionOutcome.HELD,
        SelectionReason.SWITCHES_SPENT: SelectionOutcome.HELD,
        SelectionReason.UNSURE: SelectionOutcome.HELD,
    }
)

NO_POLICY: Mapping[Outcome, SelectionReason] = MappingProxyType(
    {
        Outcome.OTHER: SelectionReason.OTHER,
        Outcome.LOW_CONFIDENCE: SelectionReason.LOW_CONFIDENCE,
        Outcome.UNRECOGNIZED: SelectionReason.UNRECOGNIZED,
    }
)
"""The reason of an answer that names no policy, for a session that holds none."""

_ERRORS: Mapping[type[Exception], SelectionReason] = MappingProxyType(
    {
        AccessDeniedError: SelectionReason.ACCESS_DENIED,
        CircuitOpenError: SelectionReason.CIRCUIT_OPEN,
        DeadlineExceededError: SelectionReason.DEADLINE_EXCEEDED,
        FailedPreconditionError: SelectionReason.FAILED_PRECONDITION,
        InvalidRequestError: SelectionReason.INVALID_REQUEST,
        NoModelFitsError: SelectionReason.NO_MODEL_FITS,
        PolicySetNotFoundError: SelectionReason.POLICY_SET_NOT_FOUND,
        ProtocolError: SelectionReason.PROTOCOL_ERROR,
        RequestCancelledError: SelectionReason.CANCELLED,
        ResourceExhaustedError: SelectionReason.RESOURCE_EXHAUSTED,
        ServerError: SelectionReason.SERVER_ERROR,
        # No answer of an archroute server to the question, so something before it gave the status.
        PolicySetChangedError: SelectionReason.SERVER_ERROR,
        UnavailableError: SelectionReason.UNAVAILABLE,
    }
)


def reason_of(error: Exception) -> SelectionReason:
    """The reason for a selection that an error put an end to."""
    return _ERRORS.get(type(error), SelectionReason.CLIENT_ERROR)
