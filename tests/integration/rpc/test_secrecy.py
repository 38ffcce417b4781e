"""The text of a conversation is in no log and no error, whatever goes wrong with it."""

import asyncio

import grpc
import pytest

from archroute.v1 import router_pb2
from archroute_server.engine.errors import EngineClosed
from archroute_server.router.errors import InvalidRequest, Violation
from support.rpc_calls import MAX_MESSAGE_BYTES, Log, Served, ask, user

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


async def everything_said(served: Served, data: bytes) -> str:
    """Send the bytes as a unary call and on a stream; return all that the caller hears."""
    heard = []
    call = served.channel.unary_unary("/archroute.v1.RouterService/Route")(data)
    try:
        heard.append(repr(await call))
    except grpc.aio.AioRpcError as error:
        heard += [repr(error), repr(error.trailing_metadata())]
    stream = served.channel.stream_stream("/archroute.v1.RouterService/RouteStream")()
    # Field 1, the id, then field 2, the request.
    length = router_pb2.RouteStreamRequest(request_id="a").SerializeToString() + b"\x12" + varint(len(data))
    await stream.write(length + data)
    await stream.done_writing()
    try:
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
