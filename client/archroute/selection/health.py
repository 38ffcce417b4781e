"""What an error says of the router's health."""

import enum

from archroute.errors import (
    AccessDeniedError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidRequestError,
    PolicySetChangedError,
    PolicySetNotFoundError,
    ProtocolError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
)

__all__ = ["Health", "health_shown_by"]


class Health(enum.Enum):
    """Whether it makes sense to ask the router something else."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


_BAD = (
    AccessDeniedError,
    DeadlineExceededError,
    PolicySetChangedError,
    ProtocolError,
    ServerError,
    UnavailableError,
)
# The router answered, and the next request may be a better one.
_GOOD = (FailedPreconditionError, InvalidRequestError, PolicySetNotFoundError)


def health_shown_by(error: Exception) -> Health:
    """BAD if the next request would most likely fail too; UNKNOWN if the router was not even asked."""
    if isinstance(error, _BAD):
        return Health.BAD
    if isinstance(error, ResourceExhaustedError):
        # An archroute server that is at its limit gives a reason. gRPC, refusing a message for its size, does
        # not.
        return Health.BAD if error.reason else Health.GOOD
    if isinstance(error, _GOOD) and error.code is not None:
        return Health.GOOD
    return Health.UNKNOWN
