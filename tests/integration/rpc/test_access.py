"""Who may call what, and how often, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.access.bearer_token import BearerToken, token_digest
from archroute_server.access.control import AccessControl
from archroute_server.access.limits import UNLIMITED, CallerLimits
from archroute_server.access.rules import AccessRules
from archroute_server.access.scope import Scope
from archroute_server.metrics.metrics import Metrics
from archroute_server.rpc.access import AccessInterceptor
from archroute_server.rpc.address import Address, PlaintextRefused
from archroute_server.telemetry.access_log import AccessLog
from support.fake_clock import FakeClock
from support.fake_engine import FakeEngine
from support.rpc_calls import Log, Served, ask, new_server, refusal
from support.scrape import read_registry

SECRET = "archroute_secret"
AUTHORIZED = (("authorization", f"Bearer {SECRET}"),)
OTHER = (("authorization", "Bearer archroute_other"),)
UNKNOWN = (("authorization", "Bearer archroute_unknown"),)

SERVING = health_pb2.HealthCheckResponse.SERVING


def token(
    *scopes: Scope, name: str = "gateway", secret: str = SECRET, limits: CallerLimits = UNLIMITED
) -> BearerToken:
    return BearerToken(name, token_digest(secret), frozenset(scopes), limits)


@asynccontextmanager
async def serving(access: AccessControl, metrics: Metrics | None = None) -> AsyncIterator[Served]:
    server, service = new_server(access=access, observe=metrics.requests.observe if metrics else None)
    address = await server.start(Address("127.0.0.1", 0))
    engine = FakeEngine()
    service.open(engine)
    await server.open_for_calls()
    async with grpc.aio.insecure_channel(str(address)) as channel:
        yield Served(server, service, engine, address, channel, RouterServiceStub(channel))
    await server.drain(0)
    await engine.close(grace=0)
    await server.stop()


async def stream_of(served: Served, texts: Sequence[str], metadata: Any) -> list[Any]:
    requests = [router_pb2.RouteStreamRequest(request_id=text, request=ask(text)) for text in texts]
    return [answer async for answer in served.stub.RouteStream(iter(requests), metadata=metadata)]


async def test_a_token_opens_what_it_is_for(log: Log) -> None:
    metrics = Metrics()
    idle = token(name="idle", secret="archroute_other")
    rules = AccessRules(frozenset(), tokens=(token(Scope.ROUTE), idle))
    async with serving(AccessControl(rules), metrics) as served:
        assert (await served.stub.Route(ask("hi"), metadata=AUTHORIZED)).policy == "code"
        (answer,) = await stream_of(served, ["hi"], AUTHORIZED)
        assert answer.response.policy == "code"
        missing = await refusal(served.stub.Route(ask("hi")))
        assert (missing.code, missing.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        wrong = await refusal(served.stub.Route(ask("hi"), metadata=UNKNOWN))
        assert (wrong.code, wrong.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        get = router_pb2.GetPolicySetRequest()
        lacking = await refusal(served.stub.GetPolicySet(get, metadata=AUTHORIZED))
        assert (lacking.code, lacking.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
        assert "`read`" in lacking.message
        nothing = await refusal(served.stub.Route(ask("hi"), metadata=OTHER))
        assert nothing.reason == "SCOPE_MISSING"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream_of(served, ["hi"], OTHER)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert len(served.engine.decided) == 2
    lines = [(line["method"], line["code"], line.get("caller")) for line in log.lines("request")]
    assert lines == [
        ("Route", "OK", "gateway"),
        ("RouteStream", "OK", "gateway"),
        ("Route", "UNAUTHENTICATED", None),
        ("Route", "UNAUTHENTICATED", None),
        ("GetPolicySet", "PERMISSION_DENIED", None),
        ("Route", "PERMISSION_DENIED", None),
    ]
    assert [line["code"] for line in log.lines("stream")] == ["OK", "PERMISSION_DENIED"]
    found = read_registry(metrics.registry)
    assert found.by("archroute_caller_requests_total", "caller", "code") == {
        ("gateway", "OK"): 2,
        ("(anonymous)", "UNAUTHENTICATED"): 2,
        ("(anonymous)", "PERMISSION_DENIED"): 2,
    }
    # Callers who are not let in are no failure of the model.
    assert found.by("archroute_answers_total", "decided_by") == {"model": 2}
    for said in (log.text(), found.text):
        assert "archroute_secret" not in said
        assert token_digest(SECRET) not in said


async def check(served: Served, metadata: Any = None) -> int:
    stub = HealthStub(served.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(), metadata=metadata)).status)


async def reflect(served: Served, metadata: Any = None) -> int:
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    call = ServerReflectionStub(served.channel).ServerReflectionInfo(iter(requests), metadata=metadata)
    (listed,) = [response async for response in call]
    return len(listed.list_services_response.service)


async def watch(served: Served, metadata: Any = None) -> int:
    call = HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(), metadata=metadata)
    async for response in call:
        call.cancel()
        return int(response.status)
    raise AssertionError


@pytest.mark.parametrize("opened", [True, False])
async def test_health_and_reflection_are_open_by_choice(opened: bool) -> None:
    rules = AccessRules(
        frozenset({Scope.HEALTH, Scope.REFLECTION} if opened else ()),
        tokens=(token(Scope.HEALTH, Scope.REFLECTION),),
    )
    async with serving(AccessControl(rules)) as served:
        for call in (check, watch, reflect):
            assert await call(served, AUTHORIZED) > 0
            if opened:
                assert await call(served) > 0
            else:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(served)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_anonymous_caller_is_its_address(log: Log) -> None:
    async with serving(AccessControl()) as served:
        await served.stub.Route(ask("hi"), metadata=AUTHORIZED)
        await stream_of(served, ["hi"], None)
    assert [line["caller"] for line in log.lines("request")] == ["ipv4:127.0.0.1"] * 2
    assert [line["caller"] for line in log.lines("stream")] == ["ipv4:127.0.0.1"]


async def test_a_method_that_nobody_put_into_the_table_is_denied(log: Log) -> None:
    called = []

    async def shutdown(request: bytes, context: object) -> bytes:
        called.append(request)
        return b""

    server = grpc.aio.server(interceptors=(AccessInterceptor(AccessControl(), AccessLog()),))
    handler = grpc.unary_unary_rpc_method_handler(shutdown)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("archroute.v1.RouterService", {"Shutdown": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        denied = await refusal(channel.unary_unary("/archroute.v1.RouterService/Shutdown")(b""))
        assert (denied.code, denied.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
        with pytest.raises(grpc.aio.AioRpcError) as absent:
            await channel.unary_unary("/archroute.v1.RouterService/Absent")(b"")
        assert absent.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert called == []
    await server.stop(0)


def limited(limits: CallerLimits, clock: FakeClock) -> AccessControl:
    rules = AccessRules(frozenset({Scope.HEALTH}), tokens=(token(Scope.ROUTE, limits=limits),))
    return AccessControl(rules, clock=clock)


async def test_a_caller_has_so_many_requests_under_way(log: Log) -> None:
    async with serving(limited(CallerLimits(concurrent_requests=1), FakeClock())) as served:
        hold = served.engine.hold("slow")
        call = asyncio.ensure_future(served.stub.Route(ask("slow"), metadata=AUTHORIZED))
        await hold.started.wait()
        busy = await refusal(served.stub.Route(ask("hi"), metadata=AUTHORIZED))
        assert (busy.code, busy.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_BUSY")
        assert busy.retry_after == pytest.approx(0.1)
        assert busy.pushback_ms == "100"
        (answer,) = await stream_of(served, ["hi"], AUTHORIZED)
        assert (answer.error.code, answer.error.reason) == (8, "CALLER_BUSY")
        assert answer.error.HasField("retry_after")
        # Whether the server is ready is told all the same.
        assert await check(served, AUTHORIZED) == SERVING
        hold.release.set()
        await call
        await served.stub.Route(ask("hi"), metadata=AUTHORIZED)
    assert {line["caller"] for line in log.lines("request") if line["method"] != "Check"} == {"gateway"}


async def test_a_caller_that_gives_up_makes_room(log: Log) -> None:
    async with serving(limited(CallerLimits(concurrent_requests=1), FakeClock())) as served:
        hold = served.engine.hold("slow")
        call = served.stub.Route(ask("slow"), metadata=AUTHORIZED)
        await hold.started.wait()
        call.cancel()
        await hold.cancelled.wait()
        await log.wait_for("request")
        await served.stub.Route(ask("hi"), metadata=AUTHORIZED)


async def test_the_requests_of_a_stream_wait_for_their_turn_instead_of_being_refused() -> None:
    async with serving(limited(CallerLimits(concurrent_requests=2), FakeClock())) as served:
        answers = await stream_of(served, [str(number) for number in range(10)], AUTHORIZED)
        assert {answer.request_id for answer in answers} == {str(number) for number in range(10)}
        assert all(answer.HasField("response") for answer in answers)


async def test_a_stream_ends_with_the_token_that_opened_it() -> None:
    control = limited(UNLIMITED, FakeClock())
    async with serving(control) as served:
        stream = served.stub.RouteStream(metadata=AUTHORIZED)
        await stream.write(router_pb2.RouteStreamRequest(request_id="a", request=ask("a")))
        assert (await stream.read()).response.policy == "code"
        control.replace(AccessRules(frozenset(), tokens=(token(Scope.ROUTE, secret="archroute_new"),)))
        await stream.write(router_pb2.RouteStreamRequest(request_id="b", request=ask("b")))
        answer = await stream.read()
        assert (answer.error.code, answer.error.reason) == (16, "TOKEN_INVALID")
        await stream.done_writing()


async def test_a_caller_has_so_many_requests_a_second(log: Log) -> None:
    clock = FakeClock()
    limits = CallerLimits(requests_per_second=2.0, burst=3)
    async with serving(limited(limits, clock)) as served:
        answers = await stream_of(served, ["a", "b"], AUTHORIZED)
        assert all(answer.HasField("response") for answer in answers)
        await served.stub.Route(ask("hi"), metadata=AUTHORIZED)
        fast = await refusal(served.stub.Route(ask("hi"), metadata=AUTHORIZED))
        assert (fast.code, fast.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_TOO_FAST")
        assert fast.retry_after == pytest.approx(0.5)
        assert fast.pushback_ms == "500"
        (answer,) = await stream_of(served, ["c"], AUTHORIZED)
        assert answer.error.reason == "CALLER_TOO_FAST"
        for _ in range(5):
            assert await check(served) == SERVING
        clock.now += 0.5
        await served.stub.Route(ask("hi"), metadata=AUTHORIZED)
    reasons = [line["reason"] for line in log.lines("request") if line["code"] != "OK"]
    assert reasons == ["CALLER_TOO_FAST"] * 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_without_tls_a_server_stays_on_its_machine_unless_told_otherwise(host: str) -> None:
    server, _ = new_server()
    with pytest.raises(PlaintextRefused, match="--allow-plaintext"):
        await server.start(Address(host, 0))
    if host == "::":
        return  # not every machine has it
    address = await server.start(Address(host, 0), allow_plaintext=True)
    assert address.port
    await server.drain(0)
    await server.stop()
