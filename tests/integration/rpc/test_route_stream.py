import asyncio
from typing import Any

import grpc

from archroute.v1 import router_pb2
from support.rpc_calls import MAX_MESSAGE_BYTES, STREAM_CONCURRENCY, Log, Served, ask, refusal, user


def item(request_id: str, text: str, **fields: Any) -> router_pb2.RouteStreamRequest:
    return router_pb2.RouteStreamRequest(request_id=request_id, request=ask(text, **fields))


async def finish(call: Any) -> list[router_pb2.RouteStreamResponse]:
    await call.done_writing()
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


async def test_answers_come_as_they_finish(served: Served, log: Log) -> None:
    hold = served.engine.hold("slow")
    call = served.stub.RouteStream(metadata=[("x-request-id", "s-1")])
    await call.write(item("a", "slow"))
    await hold.started.wait()
    await call.write(item("b", "quick", policy_set="talking"))
    first = await call.read()
    hold.release.set()
    (second,) = await finish(call)
    assert [(r.request_id, r.response.policy) for r in (first, second)] == [("b", "talk"), ("a", "code")]
    assert await call.code() is grpc.StatusCode.OK
    await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest())
    ids = [(line["request_id"], line["stream_id"]) for line in log.lines("request")[:2]]
    assert ids == [("b", "s-1"), ("a", "s-1")]
    assert log.lines("stream")[0].items() >= {"code": "OK", "stream_id": "s-1", "requests": 2}.items()


async def test_a_stream_without_requests_ends(served: Served) -> None:
    assert await finish(served.stub.RouteStream()) == []


async def test_at_most_so_many_are_decided_at_a_time(served: Served) -> None:
    holds = [served.engine.hold(f"{index}") for index in range(STREAM_CONCURRENCY + 1)]
    call = served.stub.RouteStream()
    for index in range(len(holds)):
        await call.write(item(f"{index}", f"{index}"))
    await call.done_writing()
    for hold in holds[:-1]:
        await hold.started.wait()
    # A unary call goes through the whole server meanwhile, and the last request has still not begun.
    await served.stub.Route(ask("hi"))
    assert not holds[-1].started.is_set()
    holds[1].release.set()
    await holds[-1].started.wait()
    for hold in holds:
        hold.release.set()
    assert {response.request_id for response in await finish(call)} == {"0", "1", "2", "3"}


async def test_an_error_is_answered_in_place_and_the_stream_goes_on(served: Served) -> None:
    call = served.stub.RouteStream()
    bad = router_pb2.RouteStreamRequest(request_id="bad")
    bad.request.messages.extend([user("hi"), router_pb2.Message()])
    await call.write(bad)
    error = (await call.read()).error
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "INVALID_REQUEST")
    assert [violation.field for violation in error.field_violations] == ["messages[1].role"]
    await call.write(item("absent", "hi", policy_set="absent"))
    response = await call.read()
    assert (response.request_id, response.error.reason) == ("absent", "POLICY_SET_NOT_FOUND")
    await call.write(item("good", "hi"))
    (response,) = await finish(call)
    assert (response.request_id, response.WhichOneof("result")) == ("good", "response")


async def test_a_defect_is_answered_in_place_without_its_words(served: Served, log: Log) -> None:
    served.engine.fail("secret", ValueError("secret"))
    call = served.stub.RouteStream()
    await call.write(item("a", "secret"))
    (response,) = await finish(call)
    assert response.error.reason == "INTERNAL"
    (line,) = log.lines("internal error")
    assert line["error_id"] in response.error.message
    assert "secret" not in log.text() + str(response)


async def test_a_request_without_an_id(served: Served) -> None:
    call = served.stub.RouteStream()
    await call.write(item("", "hi"))
    (response,) = await finish(call)
    assert response.request_id == ""
    assert [violation.field for violation in response.error.field_violations] == ["request_id"]
    assert served.engine.decided == []


async def test_an_id_in_flight_is_refused_and_free_again_afterwards(served: Served) -> None:
    hold = served.engine.hold("slow")
    call = served.stub.RouteStream()
    await call.write(item("a", "slow"))
    await hold.started.wait()
    await call.write(item("a", "hi"))
    refused = await call.read()
    assert [violation.field for violation in refused.error.field_violations] == ["request_id"]
    await call.write(item("a", "hi"))
    refused_again = await call.read()
    assert refused_again.error.reason == "INVALID_REQUEST"
    hold.release.set()
    assert (await call.read()).response.policy == "code"
    await call.write(item("a", "hi"))
    (answered,) = await finish(call)
    assert answered.response.policy == "code"


async def test_a_request_above_the_limit_is_refused_in_place(served: Served) -> None:
    call = served.stub.RouteStream()
    await call.write(item("large", "x" * MAX_MESSAGE_BYTES))
    await call.write(item("small", "x"))
    responses = {response.request_id: response for response in await finish(call)}
    assert responses["large"].error.reason == "MESSAGE_TOO_LARGE"
    assert responses["small"].response.policy == "code"


async def test_bytes_that_do_not_parse_end_the_stream_after_what_is_under_way(served: Served) -> None:
    hold = served.engine.hold("slow")
    call = served.channel.stream_stream("/archroute.v1.RouterService/RouteStream")()
    await call.write(item("a", "slow").SerializeToString())
    await hold.started.wait()
    await call.write(b"\x0a\x02\xff\xfe")
    hold.release.set()
    answer = router_pb2.RouteStreamResponse.FromString(await call.read())
    assert (answer.request_id, answer.response.policy) == ("a", "code")
    refused = await refusal(call.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_a_caller_that_hangs_up_cancels_all_that_is_under_way(served: Served, log: Log) -> None:
    holds = [served.engine.hold("one"), served.engine.hold("two")]
    call = served.stub.RouteStream()
    await call.write(item("1", "one"))
    await call.write(item("2", "two"))
    for hold in holds:
        await hold.started.wait()
    call.cancel()
    for hold in holds:
        await hold.cancelled.wait()
    await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest())
    assert [line["code"] for line in log.lines("request")[:2]] == ["CANCELLED", "CANCELLED"]
    assert log.lines("stream")[0]["code"] == "CANCELLED"
    assert not log.worst()


async def test_a_deadline_cancels_all_that_is_under_way(served: Served, log: Log) -> None:
    hold = served.engine.hold("slow")
    call = served.stub.RouteStream(timeout=0.3)
    await call.write(item("1", "slow"))
    await hold.cancelled.wait()
    # Not read: the server knows the deadline too, and may be the first to say, in place, that it has passed.
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest())
    assert log.lines("request")[0]["code"] == "DEADLINE_EXCEEDED"
    assert not log.worst()


async def test_a_stopping_server_answers_what_is_under_way_and_ends_the_stream(served: Served) -> None:
    hold = served.engine.hold("slow")
    call = served.stub.RouteStream()
    await call.write(item("a", "slow"))
    await hold.started.wait()
    draining = asyncio.create_task(served.server.drain(60))
    await served.service.stopping.wait()
    hold.release.set()
    assert (await call.read()).response.policy == "code"
    refused = await refusal(call.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
    await draining


async def test_an_idle_stream_does_not_delay_a_stop(served: Served) -> None:
    call = served.stub.RouteStream()
    await call.write(item("a", "hi"))
    await call.read()
    draining = asyncio.create_task(served.server.drain(60))
    refused = await refusal(call.read())
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    await draining
