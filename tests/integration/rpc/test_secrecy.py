"""The text of a conversation is in no log and no error, whatever goes wrong with it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import pytest

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.access.bearer_token import BearerToken, token_digest
from archroute_server.access.control import AccessControl
from archroute_server.access.limits import UNLIMITED, CallerLimits
from archroute_server.access.rules import UNRESTRICTED, AccessRules
from archroute_server.access.scope import Scope
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
    QueueFull,
)
from archroute_server.metrics.metrics import Metrics
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.address import Address
from archroute_server.rpc.errors import AdminDisabled
from archroute_server.rpc.status import INTERNAL, STATUS_RULES
from support.fake_engine import FakeEngine
from support.rpc_calls import MAX_MESSAGE_BYTES, POLICY_SETS, Log, Served, ask, new_server, user
from support.scrape import read_registry

Metadata = Sequence[tuple[str, str]]

SECRET = "the launch code is 0000"

REQUESTS = {
    "decided": ask(SECRET),
    "an unknown policy set": ask(SECRET, policy_set="absent"),
    "wrong inline policies": ask(SECRET, inline_policies=router_pb2.InlinePolicies()),
    "a wrong option": ask(SECRET, options=router_pb2.RouteOptions(min_probability=7)),
    "a wrong role": router_pb2.RouteRequest(
        messages=[user(SECRET), router_pb2.Message(parts=[router_pb2.Part(text=SECRET)])]
    ),
    "no user message": router_pb2.RouteRequest(
        messages=[router_pb2.Message(role=router_pb2.ROLE_SYSTEM, parts=[router_pb2.Part(text=SECRET)])]
    ),
    "too large": ask(SECRET + "x" * MAX_MESSAGE_BYTES),
}

ERRORS = {
    "invalid": InvalidRequest(Violation("messages", "is odd")),
    "closed": EngineClosed(),
    "a defect": ValueError(SECRET),
    "a system error": OSError(5, SECRET),
    "a group": ExceptionGroup(SECRET, [KeyError(SECRET)]),
}


async def everything_said(served: Served, data: bytes, metadata: Metadata = ()) -> str:
    """Send the bytes as a unary call and on a stream; return all that the caller hears."""
    heard = []
    call = served.channel.unary_unary("/archroute.v1.RouterService/Route")(data, metadata=metadata)
    try:
        heard.append(repr(await call))
    except grpc.aio.AioRpcError as error:
        heard += [repr(error), repr(error.trailing_metadata())]
    stream = served.channel.stream_stream("/archroute.v1.RouterService/RouteStream")(metadata=metadata)
    # Field 1, the id, then field 2, the request.
    length = router_pb2.RouteStreamRequest(request_id="a").SerializeToString() + b"\x12" + varint(len(data))
    try:
        await stream.write(length + data)
        await stream.done_writing()
        heard.append(repr(await stream.read()))
    except grpc.aio.AioRpcError as error:
        heard += [repr(error), repr(error.trailing_metadata())]
    return "\n".join(heard)


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


@pytest.mark.parametrize("name", REQUESTS)
async def test_no_request_is_quoted(served: Served, log: Log, name: str) -> None:
    heard = await everything_said(served, REQUESTS[name].SerializeToString())
    assert SECRET not in heard + log.text()
    assert len(log.lines("request")) == 2


async def test_no_request_that_does_not_parse_is_quoted(served: Served, log: Log) -> None:
    data = REQUESTS["decided"].SerializeToString() + b"\x2a\x02\xff\xfe"
    heard = await everything_said(served, data)
    assert heard.count("MALFORMED_REQUEST") == 2
    assert SECRET not in heard + log.text()


@pytest.mark.parametrize("name", ERRORS)
async def test_no_error_quotes_the_conversation(served: Served, log: Log, name: str) -> None:
    served.engine.fail(SECRET, ERRORS[name])
    heard = await everything_said(served, REQUESTS["decided"].SerializeToString())
    assert SECRET not in heard + log.text()
    assert [line["code"] == "OK" for line in log.lines("request")] == [False, False]


async def test_a_request_that_was_cancelled_is_not_quoted(served: Served, log: Log) -> None:
    hold = served.engine.hold(SECRET)
    call = served.stub.Route(REQUESTS["decided"])
    await hold.started.wait()
    call.cancel()
    await hold.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await call
    await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest())
    assert [line["code"] for line in log.lines("request")] == ["CANCELLED", "OK"]
    assert SECRET not in log.text()


# A token is as secret as what was said.
TOKEN = "archroute_the-token-is-1111"
CLOSED = AccessRules(
    frozenset(),
    tokens=(BearerToken("reader", token_digest(TOKEN), frozenset({Scope.READ}), UNLIMITED),),
)


@dataclass(frozen=True)
class Ending:
    """How a request with the secret comes to a certain end."""

    data: bytes = REQUESTS["decided"].SerializeToString()
    metadata: Metadata = ()
    engine: Exception | None = None
    """What the engine raises for it."""
    policy_sets: PolicySets = POLICY_SETS
    rules: AccessRules = UNRESTRICTED
    asked_before: bool = False
    """Whether the caller has asked something else and waits for the answer."""
    ready: bool = True
    stopping: bool = False


def limited(limits: CallerLimits) -> AccessRules:
    return AccessRules(frozenset({Scope.ROUTE}), limits)


# One for each reason that an error can have.
ENDINGS = {
    "INVALID_REQUEST": Ending(REQUESTS["a wrong role"].SerializeToString()),
    "MALFORMED_REQUEST": Ending(REQUESTS["decided"].SerializeToString() + b"\x2a\x02\xff\xfe"),
    "MESSAGE_TOO_LARGE": Ending(REQUESTS["too large"].SerializeToString()),
    "POLICY_SET_NOT_FOUND": Ending(REQUESTS["an unknown policy set"].SerializeToString()),
    "NO_DEFAULT_POLICY_SET": Ending(policy_sets=PolicySets()),
    "SERVER_STARTING": Ending(ready=False),
    "SERVER_STOPPING": Ending(stopping=True),
    "QUEUE_FULL": Ending(engine=QueueFull(1, "requests", "--queue-requests", 1.0)),
    "DEADLINE_UNREACHABLE": Ending(engine=DeadlineUnreachable(2.0, 1.0, 1.0)),
    "DEADLINE_EXCEEDED": Ending(engine=DeadlineExceeded()),
    "TOKEN_MISSING": Ending(rules=CLOSED),
    "TOKEN_INVALID": Ending(metadata=[("authorization", f"Bearer {TOKEN}!")], rules=CLOSED),
    "SCOPE_MISSING": Ending(metadata=[("authorization", f"Bearer {TOKEN}")], rules=CLOSED),
    "CALLER_BUSY": Ending(rules=limited(CallerLimits(concurrent_requests=1)), asked_before=True),
    "CALLER_TOO_FAST": Ending(rules=limited(CallerLimits(requests_per_second=0.001)), asked_before=True),
    "ADMIN_DISABLED": Ending(engine=AdminDisabled()),
    "NO_POLICY_STORE": Ending(engine=NoPolicyStore()),
    "POLICY_SET_READ_ONLY": Ending(engine=PolicySetReadOnly("coding")),
    "REVISION_MISMATCH": Ending(engine=RevisionMismatch("coding", "sha256:1", "sha256:2")),
    "POLICY_STORE_FULL": Ending(engine=PolicyStoreFull(100)),
    "POLICY_STORE_UNWRITABLE": Ending(engine=PolicyStoreUnwritable("No space left on device")),
    "MODEL_FAILED": Ending(engine=ModelFailed()),
    "MODEL_OUTPUT_INVALID": Ending(engine=ModelOutputInvalid()),
    "MODEL_STALLED": Ending(engine=ModelStalled()),
    "INTERNAL": Ending(engine=RuntimeError(SECRET)),
}


def test_there_is_an_ending_for_every_error() -> None:
    assert ENDINGS.keys() == {rule.reason for rule in (*STATUS_RULES.values(), INTERNAL)}


@pytest.mark.parametrize("reason", ENDINGS)
async def test_no_error_of_any_kind_quotes_the_conversation_or_a_token(reason: str, log: Log) -> None:
    ending, metrics = ENDINGS[reason], Metrics()
    server, service = new_server(
        ending.policy_sets, access=AccessControl(ending.rules), observe=metrics.requests.observe
    )
    address = await server.start(Address("127.0.0.1", 0))
    engine = FakeEngine()
    if ending.engine is not None:
        engine.fail(SECRET, ending.engine)
    if ending.ready:
        service.open(engine)
    if ending.stopping:
        service.stop()
    async with grpc.aio.insecure_channel(str(address)) as channel:
        served = Served(server, service, engine, address, channel, RouterServiceStub(channel))
        calls = []
        if ending.asked_before:
            calls.append(asyncio.ensure_future(served.stub.Route(ask("before"))))
            await engine.hold("before").started.wait()
        heard = await everything_said(served, ending.data, ending.metadata)
        engine.hold("before").release.set()
        await asyncio.gather(*calls)
    await server.drain(0)
    await server.stop()
    assert heard.count(reason) >= 2
    counted = read_registry(metrics.registry)
    assert reason in counted.by("archroute_requests_total", "reason")
    for said in (heard, log.text(), counted.text):
        assert SECRET not in said
        assert TOKEN not in said
