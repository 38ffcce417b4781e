"""Policies, requests and refusals for tests of the protocol."""

import asyncio
import io
import json
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from archroute.v1 import router_pb2
from archroute_server.access.control import AccessControl
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_file import PlacedPolicySets
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.address import Address
from archroute_server.rpc.admin import AdminGate
from archroute_server.rpc.policy_set_service import PolicySetService
from archroute_server.rpc.server import RpcServer
from archroute_server.rpc.service import RouterService
from archroute_server.telemetry.access_log import AccessLog, Observe
from archroute_server.telemetry.logging import SERVER_LOGGER, LogFormat, configure_logging
from support.fake_engine import FakeEngine

CODING = PolicySet(
    "coding",
    (
        Policy("code", "Writing and changing code.", ("large", "small")),
        Policy("review", "Reading code.", ("small",)),
    ),
    default_policy="review",
)
TALKING = PolicySet("talking", (Policy("talk", "Small talk."),))
POLICY_SETS = PolicySets([CODING, TALKING], default_name="coding")

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
STREAM_CONCURRENCY = 3


@dataclass
class Served:
    """A server that decides, and a caller of it."""

    server: RpcServer
    service: RouterService
    engine: FakeEngine
    address: Address
    channel: grpc.aio.Channel
    stub: Any  # the generated stub has no types


class _Telling(logging.Handler):
    """Tells of each line, without writing it."""

    def __init__(self, tell: Callable[[], object]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell()


@dataclass
class Log:
    """What the process logged, as JSON."""

    stream: io.StringIO

    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text().splitlines()]
        return [line for line in lines if event is None or line["event"] == event]

    async def wait_for(self, event: str) -> dict[str, Any]:
        """Wait until `event` was logged and return the last of its lines."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        handler = _Telling(lambda: loop.call_soon_threadsafe(told.set))
        # Behind the one that writes, so that what is told of is there.
        logging.getLogger().addHandler(handler)
        try:
            while not (found := self.lines(event)):
                await told.wait()
                told.clear()
            return found[-1]
        finally:
            logging.getLogger().removeHandler(handler)

    def worst(self) -> set[str]:
        return {line["level"] for line in self.lines()} & {"warning", "error", "critical"}


@contextmanager
def logging_to_memory() -> Iterator[Log]:
    """Let the process, libraries too, log to memory while the block runs."""
    root, own = logging.getLogger(), logging.getLogger(SERVER_LOGGER)
    handlers, root_level, own_level = root.handlers[:], root.level, own.level
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, "debug", stream=stream)
    yield Log(stream)
    root.handlers[:] = handlers
    root.setLevel(root_level)
    own.setLevel(own_level)
    logging.captureWarnings(capture=False)


@dataclass
class Refusal:
    """A failed call as the caller sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: dict[str, str]
    retry_after: float | None = None
    pushback_ms: str | None = None


def new_server(
    policy_sets: PolicySets = POLICY_SETS,
    *,
    max_deadline: float = math.inf,
    access: AccessControl | None = None,
    observe: Observe | None = None,
    catalogue: PolicyCatalogue | None = None,
    allow_admin: bool = False,
) -> tuple[RpcServer, RouterService]:
    service, policy_set_service = new_services(
        policy_sets, max_deadline=max_deadline, catalogue=catalogue, allow_admin=allow_admin
    )
    server = RpcServer(
        service,
        policy_set_service,
        AccessLog(observe=observe),
        max_message_bytes=MAX_MESSAGE_BYTES,
        stream_concurrency=STREAM_CONCURRENCY,
        access=access,
    )
    return server, service


def new_services(
    policy_sets: PolicySets = POLICY_SETS,
    *,
    max_deadline: float = math.inf,
    catalogue: PolicyCatalogue | None = None,
    allow_admin: bool = False,
) -> tuple[RouterService, PolicySetService]:
    catalogue = catalogue or PolicyCatalogue(PlacedPolicySets(policy_sets, {}))
    service = RouterService(catalogue, max_deadline=max_deadline)
    return service, PolicySetService(catalogue, AdminGate(allowed=allow_admin), service.stopping)


def user(text: str) -> router_pb2.Message:
    return router_pb2.Message(role=router_pb2.ROLE_USER, parts=[router_pb2.Part(text=text)])


def ask(text: str, **fields: Any) -> router_pb2.RouteRequest:
    return router_pb2.RouteRequest(messages=[user(text)], **fields)


async def refusal(call: Awaitable[object]) -> Refusal:
    """Await a call that must fail, and check that the parts of its status agree."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    metadata = dict(error.trailing_metadata())
    status = Status.FromString(metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad_request) or detail.Unpack(retry)
    assert info.domain == "archroute"
    fields = {violation.field: violation.description for violation in bad_request.field_violations}
    return Refusal(
        error.code(),
        error.details() or "",
        info.reason,
        fields,
        retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
        metadata.get("grpc-retry-pushback-ms"),
    )
