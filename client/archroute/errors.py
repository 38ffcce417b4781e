"""What can go wrong, and which gRPC status says so.

    ArchrouteError
    ├── InvalidRequestError         INVALID_ARGUMENT, OUT_OF_RANGE; also raised before any call
    ├── PolicySetNotFoundError      NOT_FOUND
    ├── FailedPreconditionError     FAILED_PRECONDITION
    ├── AccessDeniedError           UNAUTHENTICATED, PERMISSION_DENIED
    ├── DeadlineExceededError       DEADLINE_EXCEEDED
    ├── RequestCancelledError       CANCELLED
    ├── ResourceExhaustedError      RESOURCE_EXHAUSTED
    ├── UnavailableError            UNAVAILABLE
    ├── PolicySetChangedError       ABORTED
    ├── ServerError                 UNKNOWN, INTERNAL, DATA_LOSS, ALREADY_EXISTS
    ├── ProtocolError               UNIMPLEMENTED, OK; also an answer that is not one
    ├── ModelMapError               no status: the model map of `select` is wrong
    ├── CircuitOpenError            no status: `select(strict=True)` did not ask a router that keeps failing
    └── NoModelFitsError            no status: `select(strict=True)` found no model that can do what is needed

`DeadlineExceededError`, `ResourceExhaustedError` and `UnavailableError` may go away when the call is made
again. The rest will not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import grpc

__all__ = [
    "AccessDeniedError",
    "ArchrouteError",
    "CircuitOpenError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "FieldViolation",
    "InvalidRequestError",
    "ModelMapError",
    "NoModelFitsError",
    "PolicySetChangedError",
    "PolicySetNotFoundError",
    "ProtocolError",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "ServerError",
    "UnavailableError",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field of a request (google.rpc.BadRequest.FieldViolation)."""

    field: str
    """A path such as `messages[2].content`."""

    description: str
    """What is wrong with the field and what to do about it."""


class ArchrouteError(Exception):
    """The root of every error that this package raises on purpose."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        field_violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """The gRPC status that said so; None if the client found the error itself."""
        self.reason = reason
        """The server's stable name of the error (google.rpc.ErrorInfo.reason); empty if it gave none."""
        self.field_violations = field_violations
        """The wrong fields, in the order in which they were found."""
        self.metadata = dict(metadata or {})
        """What the server adds to `reason` (google.rpc.ErrorInfo.metadata)."""
        self.retry_after = retry_after
        """Seconds to wait before trying again (google.rpc.RetryInfo); None if the server does not say."""


class InvalidRequestError(ArchrouteError):
    """The request is wrong, and would be wrong again. `field_violations` says where."""


class PolicySetNotFoundError(ArchrouteError):
    """The server holds no policy set of that name."""


class FailedPreconditionError(ArchrouteError):
    """The server is not set up for the request, for example because it has no default policy set."""


class AccessDeniedError(ArchrouteError):
    """The server, or a proxy before it, did not accept who is calling."""


class DeadlineExceededError(ArchrouteError):
    """No answer came within the timeout."""


class RequestCancelledError(ArchrouteError):
    """The call was cancelled, by another thread or on the way."""


class ResourceExhaustedError(ArchrouteError):
    """The server is at its limit, or the message is larger than it takes; `reason` tells them apart."""


class UnavailableError(ArchrouteError):
    """Nobody answers at the address, or the server is starting or stopping."""


class PolicySetChangedError(ArchrouteError):
    """The policy set has another revision than `if_revision` said: `metadata["current_revision"]`."""


class ServerError(ArchrouteError):
    """The server failed. Its log says why."""


class ProtocolError(ArchrouteError):
    """What answered does not speak this version of `archroute.v1`."""


class ModelMapError(ArchrouteError):
    """A model map is wrong. `field_violations` says where, if it is a file: as `file:line:column`."""


class CircuitOpenError(ArchrouteError):
    """The router failed again and again, so that it is left alone for a moment."""


class NoModelFitsError(ArchrouteError):
    """No model of the policy, and no default one, can do what the conversation needs."""


ERRORS: Mapping[grpc.StatusCode, type[ArchrouteError]] = MappingProxyType(
    {
        grpc.StatusCode.OK: ProtocolError,
        grpc.StatusCode.CANCELLED: RequestCancelledError,
        grpc.StatusCode.UNKNOWN: ServerError,
        grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
        grpc.StatusCode.NOT_FOUND: PolicySetNotFoundError,
        grpc.StatusCode.ALREADY_EXISTS: ServerError,
        grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
        grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
        grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
        grpc.StatusCode.ABORTED: PolicySetChangedError,
        grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
        grpc.StatusCode.UNIMPLEMENTED: ProtocolError,
        grpc.StatusCode.INTERNAL: ServerError,
        grpc.StatusCode.UNAVAILABLE: UnavailableError,
        grpc.StatusCode.DATA_LOSS: ServerError,
        grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
    }
)
