"""What a caller sees of a server that is full, of time that runs out, and of a fallback."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.engine.errors import DeadlineUnreachable, QueueFull
from archroute_server.rpc.address import Address
from support.fake_engine import FakeEngine
from support.rpc_calls import Log, Served, ask, new_server, refusal, user

FULL = QueueFull(256, "requests", "--queue-requests", 1.5004)
LATE = DeadlineUnreachable(expected=3, remaining=1, retry_after=2)


@asynccontextmanager
async def serving(max_deadline: float) -> AsyncIterator[tuple[FakeEngine, Any]]:
    """Give an engine behind a server with a deadline of its own, and a stub of it."""
    server, service = new_server(max_deadline=max_deadline)
    address = await server.start(Address("127.0.0.1", 0))
    engine = FakeEngine()
    service.open(engine)
    async with grpc.aio.insecure_channel(str(address)) as channel:
        yield engine, RouterServiceStub(channel)
    await server.drain(0)
    await server.stop()


def deciding_by(seconds: float) -> router_pb2.RouteOptions:
    options = router_pb2.RouteOptions()
    options.decide_by.FromNanoseconds(round(seconds * 1e9))
    return options


@pytest.mark.parametrize(
    ("error", "reason", "retry_after", "pushback_ms"),
    [(FULL, "QUEUE_FULL", 1.5004, "1501"), (LATE, "DEADLINE_UNREACHABLE", 2.0, "2000")],
)
async def test_who_is_refused_is_told_when_to_come_back(
    served: Served, log: Log, error: Exception, reason: str, retry_after: float, pushback_ms: str
) -> None:
    served.engine.fail("hi", error)
    refused = await refusal(served.stub.Route(ask("hi")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
    assert (refused.retry_after, refused.pushback_ms) == (retry_after, pushback_ms)
    (line,) = log.lines("request")
    assert (line["reason"], line["retry_after_ms"]) == (reason, pytest.approx(retry_after * 1000))


async def test_other_errors_do_not_say_when_to_come_back(served: Served) -> None:
    refused = await refusal(served.stub.Route(ask("hi", policy_set="absent")))
    assert (refused.retry_after, refused.pushback_ms) == (None, None)


async def test_a_wrong_request_is_told_so_though_the_server_is_full(served: Served) -> None:
    served.engine.fail("hi", FULL)
    request = router_pb2.RouteRequest(messages=[router_pb2.Message(), user("hi")])
    assert (await refusal(served.stub.Route(request))).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_full_server_is_healthy_and_shows_its_policies(served: Served) -> None:
    served.engine.fail("hi", FULL)
    await refusal(served.stub.Route(ask("hi")))
    health = await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    shown = await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest(name="coding"))
    assert shown.policy_set.default_policy == "review"


async def test_a_stream_is_admitted_request_by_request(served: Served) -> None:
    served.engine.fail("refused", FULL)
    call = served.stub.RouteStream()
    for request_id, text in (("1", "refused"), ("2", "hi")):
        await call.write(router_pb2.RouteStreamRequest(request_id=request_id, request=ask(text)))
    await call.done_writing()
    answers = {answer.request_id: answer async for answer in call}
    assert answers["1"].error.reason == "QUEUE_FULL"
    assert answers["1"].error.retry_after == Duration(seconds=1, nanos=500_400_000)
    assert answers["2"].response.policy == "code"
    assert await call.code() is grpc.StatusCode.OK


async def test_a_budget_that_runs_out_is_answered_with_the_default_policy(served: Served, log: Log) -> None:
    hold = served.engine.hold("slow")
    response = await served.stub.Route(ask("slow", options=deciding_by(0.01), session_id="s"))
    assert hold.cancelled.is_set()
    assert (response.outcome, response.policy) == (router_pb2.OUTCOME_FALLBACK, "review")
    assert list(response.models) == ["small"]
    assert response.fallback_reason == router_pb2.FALLBACK_REASON_DECIDE_BY_PASSED
    assert (response.probability, list(response.ranking), response.session_id) == (0, [], "s")
    assert response.timings.total.ToNanoseconds() >= 10_000_000
    assert response.timings.queue.ToNanoseconds() == 4_000_000
    (line,) = log.lines("request")
    assert (line["code"], line["outcome"], line["fallback_reason"]) == ("OK", "FALLBACK", "DECIDE_BY_PASSED")


async def test_a_set_without_a_default_policy_falls_back_to_none(served: Served) -> None:
    served.engine.hold("slow")
    response = await served.stub.Route(ask("slow", policy_set="talking", options=deciding_by(0.01)))
    assert (response.outcome, response.policy) == (router_pb2.OUTCOME_FALLBACK, "")
    assert list(response.models) == []


async def test_inline_policies_may_declare_a_default(served: Served) -> None:
    served.engine.hold("slow")
    policies = [router_pb2.Policy(name="a", description="b", models=["m"])]
    inline = router_pb2.InlinePolicies(policies=policies, default_policy="a")
    response = await served.stub.Route(ask("slow", inline_policies=inline, options=deciding_by(0.01)))
    assert (response.policy, list(response.models)) == ("a", ["m"])


async def test_a_budget_on_a_stream_is_counted_for_each_request(served: Served) -> None:
    served.engine.hold("slow")
    call = served.stub.RouteStream()
    for request_id in ("1", "2"):
        request = ask("slow", options=deciding_by(0.01))
        await call.write(router_pb2.RouteStreamRequest(request_id=request_id, request=request))
        answer = await call.read()
        assert answer.response.outcome == router_pb2.OUTCOME_FALLBACK
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("timeout", [None, 3600.0])
async def test_the_server_has_a_deadline_of_its_own(log: Log, timeout: float | None) -> None:
    async with serving(max_deadline=0.01) as (engine, stub):
        hold = engine.hold("slow")
        refused = await refusal(stub.Route(ask("slow"), timeout=timeout))
        assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert hold.cancelled.is_set()
        options = deciding_by(60)
        refused = await refusal(stub.Route(ask("slow", options=options), timeout=timeout))
        assert refused.reason == "DEADLINE_EXCEEDED"


async def test_a_sooner_deadline_reaches_the_engine() -> None:
    async with serving(max_deadline=1800) as (engine, stub):
        await stub.Route(ask("hi"), timeout=600)
        await stub.Route(ask("hi"))
        call = stub.RouteStream(timeout=300)
        await call.write(router_pb2.RouteStreamRequest(request_id="1", request=ask("hi")))
        await call.done_writing()
        assert await call.read() is not grpc.aio.EOF
        await stub.Route(ask("hi", options=deciding_by(60)), timeout=600)
    now = time.monotonic()
    remaining = [limit.deadline - now for limit in engine.limits]
    for left, given in zip(remaining, (600, 1800, 300, 600), strict=True):
        assert given - 120 < left < given + 1
    assert [limit.decide_by - now < 60 for limit in engine.limits] == [False, False, False, True]
