"""How a call ends: with its response or a failure, and with a line in the access log either way."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from archroute_server.rpc.status import Failure
from archroute_server.telemetry.access_log import AccessEntry
from archroute_server.telemetry.logging import log_event

R = TypeVar("R")

Context = grpc.aio.ServicerContext[Any, Any]

_logger = logging.getLogger(__name__)

# How long before its deadline has passed here a caller may hang up because of it: the call's way, and what
# gRPC rounds a timeout up by. From a second on it sends it in steps of up to 1 % (Timeout in grpc's
# src/core/lib/transport/timeout_encoding.h).
_EARLY_SECONDS = 0.05
_ROUNDED_UP = 0.01


async def settle(answer: Coroutine[Any, Any, R], entry: AccessEntry, context: Context) -> R | Failure:
    """Await `answer` and write the entry. An error becomes a `Failure`; being cancelled stays that."""
    try:
        response = await answer
    except asyncio.CancelledError:
        entry.write(cancellation_code(entry.elapsed(), context.time_remaining()).name)
        raise
    except Exception as error:  # noqa: BLE001 - the last place where an error can be told to the caller
        return fail(error, entry)
    entry.write(grpc.StatusCode.OK.name)
    return response


def fail(error: Exception, entry: AccessEntry) -> Failure:
    """Write the entry of a call that ends with `error`, and return what its caller is told."""
    failure = Failure.of(error)
    if failure.error_id:
        log_event(_logger, logging.ERROR, "internal error", error, error_id=failure.error_id)
        entry.add(error_id=failure.error_id)
    if failure.violations:
        entry.add(wrong_fields=[violation.field for violation in failure.violations])
    if failure.retry_after is not None:
        entry.add(retry_after_ms=round(failure.retry_after * 1000, 3))
    entry.write(
        failure.rule.code.name,
        logging.ERROR if failure.error_id else logging.INFO,
        reason=failure.rule.reason,
    )
    return failure


def cancellation_code(elapsed: float, remaining: float | None) -> grpc.StatusCode:
    """Tell a deadline from a caller that hung up: gRPC cancels the task for both.

    `elapsed` and `remaining` are in seconds, the latter until the deadline as this end of the call knows it,
    or None without one. A caller whose deadline passes hangs up too, and what it says arrives before the
    deadline has passed here. So a caller that hangs up at the very end had a deadline that passed.
    """
    if remaining is None:
        return grpc.StatusCode.CANCELLED
    early = _EARLY_SECONDS + _ROUNDED_UP * (elapsed + remaining)
    return grpc.StatusCode.DEADLINE_EXCEEDED if remaining <= early else grpc.StatusCode.CANCELLED
