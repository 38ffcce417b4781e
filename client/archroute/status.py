"""From a gRPC status to an error of this package: the one place where both clients and streams meet."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from archroute.errors import (
    ERRORS,
    AccessDeniedError,
    ArchrouteError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidRequestError,
    PolicySetChangedError,
    PolicySetNotFoundError,
    ProtocolError,
    RequestCancelledError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
)
from archroute.v1 import router_pb2

__all__ = ["Failure", "call_failure", "code_from_number", "route_failure"]

# Where gRPC's richer error model puts a google.rpc.Status: https://grpc.io/docs/guides/error/
DETAILS_KEY = "grpc-status-details-bin"

# What grpc.aio puts over the status of a stream that ends while a message is being written to it, whatever
# that status was: https://github.com/grpc/grpc/issues/36066
_LOST_STATUS = (grpc.StatusCode.INTERNAL, "Internal error from Core")

_DETAILS = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
# What grpc, unlike grpc.aio, puts over the status of a call whose answer it cannot parse. The server said OK.
_UNREADABLE = (grpc.StatusCode.INTERNAL, "Exception deserializing response!")

_CODES: Mapping[int, grpc.StatusCode] = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})

# What went wrong, where, and what to do. What the server said follows after a colon.
_SUMMARIES: Mapping[type[ArchrouteError], str] = MappingProxyType(
    {
        InvalidRequestError: "the archroute server at {address} refused the request",
        PolicySetNotFoundError: "the archroute server at {address} does not hold that policy set",
        FailedPreconditionError: "the archroute server at {address} is not set up for the request",
        AccessDeniedError: "the archroute server at {address} denied access; check the credentials",
        DeadlineExceededError: "no answer from {address} within {timeout}; allow more with `timeout`",
        RequestCancelledError: "the call to {address} was cancelled",
        ResourceExhaustedError: "the archroute server at {address} is at a limit; send less, or later",
        UnavailableError: "the archroute server at {address} cannot answer now; try again",
        PolicySetChangedError: "the policy set on the archroute server at {address} was changed meanwhile",
        ServerError: "the archroute server at {address} failed; its log says why",
        ProtocolError: "what answers at {address} is no archroute server that this client understands; "
        "check the address and the versions",
    }
)
_NOBODY = "no archroute server answers at {address}; start one with `archroute serve`, or check the address"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed call says, whether in its status or as one answer of a stream."""

    code: grpc.StatusCode
    description: str = ""
    reason: str = ""
    field_violations: tuple[FieldViolation, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None

    def error(self, address: str, timeout: float = math.inf) -> ArchrouteError:
        """The error to raise, which names the address that was called and the seconds that it had."""
        error = ERRORS[self.code]
        # An archroute server gives a reason with every error; gRPC itself, when nobody is there, does not.
        nobody = error is UnavailableError and not self.reason
        summary = _NOBODY if nobody else _SUMMARIES[error]
        limit = "its deadline" if math.isinf(timeout) else f"{timeout:g} s"
        message = summary.format(address=address, timeout=limit)
        said = "; ".join(part for part in (self.description, *self._violations_not_described()) if part)
        if said:
            message += f": {said}"
        if self.reason:
            message += f" [{self.reason}]"
        return error(
            message,
            code=self.code,
            reason=self.reason,
            field_violations=self.field_violations,
            metadata=dict(self.metadata),
            retry_after=self.retry_after,
        )

    def _violations_not_described(self) -> Iterable[str]:
        for violation in self.field_violations:
            if violation.description not in self.description:
                yield f"{violation.field}: {violation.description}"


def call_failure(error: grpc.RpcError) -> Failure:
    """Reads the status of a failed call.

    The details are a serialized google.rpc.Status in the trailing metadata. Details that cannot be parsed
    are passed over, since the status beside them still says what happened.
    """
    if (error.code(), error.details()) == _LOST_STATUS:
        # That much is certain: the connection, or the server's end of the stream, is gone.
        return Failure(grpc.StatusCode.UNAVAILABLE, "the stream ended while a request was being sent")
    if (error.code(), error.details()) == _UNREADABLE:
        return Failure(grpc.StatusCode.OK, "its answer cannot be parsed")
    reason = ""
    violations: list[FieldViolation] = []
    metadata: dict[str, str] = {}
    retry_after: float | None = None
    for detail in _details(error):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            reason = detail.reason
            metadata.update(detail.metadata)
        elif isinstance(detail, error_details_pb2.RetryInfo):
            retry_after = _seconds(detail.retry_delay)
        else:
            violations += [FieldViolation(each.field, each.description) for each in detail.field_violations]
    return Failure(
        error.code(),
        error.details() or "",
        reason,
        tuple(violations),
        tuple(sorted(metadata.items())),
        retry_after,
    )


def route_failure(error: router_pb2.RouteError) -> Failure:
    """Reads the error that a stream gives in the place of one answer."""
    return Failure(
        code_from_number(error.code),
        error.message,
        error.reason,
        tuple(FieldViolation(each.field, each.description) for each in error.field_violations),
        retry_after=_seconds(error.retry_after) if error.HasField("retry_after") else None,
    )


def code_from_number(number: int) -> grpc.StatusCode:
    """The status of a google.rpc.Code; UNKNOWN for a number that gRPC does not define."""
    return _CODES.get(number, grpc.StatusCode.UNKNOWN)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _details(
    error: grpc.RpcError,
) -> Iterable[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo]:
    # Pairs in both clients, though the types of one say otherwise.
    pairs = cast(Iterable[tuple[str, bytes]], error.trailing_metadata() or ())
    for key, value in pairs:
        if key != DETAILS_KEY:
            continue
        try:
            status = status_pb2.Status.FromString(value)
            for packed in status.details:
                for kind in _DETAILS:
                    detail = kind()
                    if packed.Unpack(detail):
                        yield detail
        except DecodeError:
            return
