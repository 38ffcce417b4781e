"""Errors to statuses: one table, for unary calls and for the answers of a stream."""

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from archroute.v1 import router_pb2
from archroute_server.access.errors import (
    CallerBusy,
    CallerLimited,
    CallerTooFast,
    ScopeMissing,
    TokenInvalid,
    TokenMissing,
)
from archroute_server.catalogue.errors import (
    NoPolicyStore,
    PolicySetReadOnly,
    PolicyStoreFull,
    PolicyStoreUnwritable,
    RevisionMismatch,
)
from archroute_server.engine.errors import (
    DeadlineExceeded,
    DeadlineUnreachable,
    EngineClosed,
    ModelFailed,
    ModelOutputInvalid,
    ModelStalled,
    Overloaded,
    QueueFull,
)
from archroute_server.router.errors import InvalidRequest, PolicySetNotFound, Violation
from archroute_server.rpc.convert import write_duration
from archroute_server.rpc.errors import (
    AdminDisabled,
    MalformedRequest,
    MessageTooLarge,
    NoDefaultPolicySet,
    ServerStarting,
    ServerStopping,
)

ERROR_DOMAIN = "archroute"
# With REVISION_MISMATCH, in ErrorInfo.metadata: the revision that the set has, empty if there is no set.
CURRENT_REVISION = "current_revision"
DETAILS_KEY = "grpc-status-details-bin"
# What gRPC's own retries wait for: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
PUSHBACK_KEY = "grpc-retry-pushback-ms"

# A status travels in trailing metadata, of which a gRPC client accepts 8 KiB by default: the message twice
# (percent-encoded, and in the details) and the violations, these in base64. `InvalidRequest` bounds how many
# violations there are.
MAX_MESSAGE_BYTES = 512
MAX_FIELD_BYTES = 96
MAX_DESCRIPTION_BYTES = 224


@dataclass(frozen=True, slots=True)
class StatusRule:
    """How errors of one class are told to the caller. `reason` is stable and made for programs."""

    code: grpc.StatusCode
    reason: str


STATUS_RULES: Mapping[type[Exception], StatusRule] = {
    InvalidRequest: StatusRule(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    MalformedRequest: StatusRule(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
    MessageTooLarge: StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    PolicySetNotFound: StatusRule(grpc.StatusCode.NOT_FOUND, "POLICY_SET_NOT_FOUND"),
    NoDefaultPolicySet: StatusRule(grpc.StatusCode.FAILED_PRECONDITION, "NO_DEFAULT_POLICY_SET"),
    ServerStarting: StatusRule(grpc.StatusCode.UNAVAILABLE, "SERVER_STARTING"),
    ServerStopping: StatusRule(grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING"),
    EngineClosed: StatusRule(grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING"),
    QueueFull: StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    DeadlineUnreachable: StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED, "DEADLINE_UNREACHABLE"),
    DeadlineExceeded: StatusRule(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    TokenMissing: StatusRule(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"),
    TokenInvalid: StatusRule(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
    ScopeMissing: StatusRule(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"),
    CallerBusy: StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_BUSY"),
    CallerTooFast: StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_TOO_FAST"),
    ModelFailed: StatusRule(grpc.StatusCode.INTERNAL, "MODEL_FAILED"),
    ModelOutputInvalid: StatusRule(grpc.StatusCode.INTERNAL, "MODEL_OUTPUT_INVALID"),
    ModelStalled: StatusRule(grpc.StatusCode.UNAVAILABLE, "MODEL_STALLED"),
    AdminDisabled: StatusRule(grpc.StatusCode.PERMISSION_DENIED, "ADMIN_DISABLED"),
    NoPolicyStore: StatusRule(grpc.StatusCode.FAILED_PRECONDITION, "NO_POLICY_STORE"),
    PolicySetReadOnly: StatusRule(grpc.StatusCode.FAILED_PRECONDITION, "POLICY_SET_READ_ONLY"),
    RevisionMismatch: StatusRule(grpc.StatusCode.ABORTED, "REVISION_MISMATCH"),
    PolicyStoreFull: StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED, "POLICY_STORE_FULL"),
    PolicyStoreUnwritable: StatusRule(grpc.StatusCode.INTERNAL, "POLICY_STORE_UNWRITABLE"),
}
"""The errors that are made for callers. The message of any other exception never reaches one."""

INTERNAL = StatusRule(grpc.StatusCode.INTERNAL, "INTERNAL")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the caller sees it, small enough for a status.

    `error_id` is set if the server is at fault: the message names it, and so must the log, which says more.
    `retry_after` is in seconds, and set if the server can say when to try again. `metadata` tells programs
    more.
    """

    rule: StatusRule
    message: str
    violations: tuple[Violation, ...] = ()
    error_id: str = ""
    retry_after: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Look the error up in the table; what is not in it is an internal error with an id."""
        for error_class in type(error).__mro__:
            if (rule := STATUS_RULES.get(error_class)) is not None:
                if rule.code is grpc.StatusCode.INTERNAL:
                    return cls._internal(rule, str(error))
                violations = error.violations if isinstance(error, InvalidRequest) else ()
                message = shorten(str(error), MAX_MESSAGE_BYTES)
                retry_after = error.retry_after if isinstance(error, Overloaded | CallerLimited) else None
                metadata = {CURRENT_REVISION: error.current} if isinstance(error, RevisionMismatch) else {}
                return cls(rule, message, tuple(map(_bounded, violations)), "", retry_after, metadata)
        return cls._internal(INTERNAL, "internal error")

    @classmethod
    def _internal(cls, rule: StatusRule, message: str) -> "Failure":
        error_id = uuid.uuid4().hex
        return cls(
            rule, f"{message}: error {error_id}, of which the server's log says more", error_id=error_id
        )

    def to_status(self) -> Status:
        """Return the status with its details: ErrorInfo always, BadRequest and RetryInfo where known."""
        details: list[BadRequest | ErrorInfo | RetryInfo] = [
            ErrorInfo(reason=self.rule.reason, domain=ERROR_DOMAIN, metadata=self.metadata)
        ]
        if self.violations:
            wrong = [
                BadRequest.FieldViolation(field=violation.field, description=violation.description)
                for violation in self.violations
            ]
            details.append(BadRequest(field_violations=wrong))
        if self.retry_after is not None:
            details.append(RetryInfo(retry_delay=write_duration(self.retry_after)))
        status = Status(code=self.rule.code.value[0], message=self.message)
        for detail in details:
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    def to_route_error(self) -> router_pb2.RouteError:
        """Return the same for one request of a stream."""
        return router_pb2.RouteError(
            code=self.rule.code.value[0],
            reason=self.rule.reason,
            message=self.message,
            field_violations=[
                router_pb2.FieldViolation(field=violation.field, description=violation.description)
                for violation in self.violations
            ],
            retry_after=None if self.retry_after is None else write_duration(self.retry_after),
        )

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return what goes behind the status: its details, and when gRPC's own retries may come."""
        details = (DETAILS_KEY, self.to_status().SerializeToString())
        if self.retry_after is None:
            return (details,)
        return details, (PUSHBACK_KEY, str(math.ceil(self.retry_after * 1000)))

    async def abort(self, context: grpc.aio.ServicerContext[object, object]) -> NoReturn:
        """End the call with this status."""
        await context.abort(self.rule.code, self.message, self.trailing_metadata())


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` bytes of UTF-8, with an ellipsis where it was cut."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _bounded(violation: Violation) -> Violation:
    return Violation(
        shorten(violation.field, MAX_FIELD_BYTES), shorten(violation.description, MAX_DESCRIPTION_BYTES)
    )
