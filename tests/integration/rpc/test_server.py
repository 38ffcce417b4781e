import asyncio
import socket
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.rpc.address import Address, PortInUse
from archroute_server.rpc.server import RpcServer
from archroute_server.rpc.servicer import SERVICE_NAME
from archroute_server.telemetry.access_log import AccessLog
from support.fake_engine import FakeEngine
from support.rpc_calls import Served, ask, new_server, new_services, refusal

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ["", "archroute.v1.RouterService"]


async def check(channel: grpc.aio.Channel, service: str) -> int:
    stub = HealthStub(channel)
    response = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return response.status


@pytest.mark.parametrize("service", SERVICES)
async def test_health_and_calls_while_starting_and_after(service: str) -> None:
    server, router_service = new_server()
    address = await server.start(Address("127.0.0.1", 0))
    async with grpc.aio.insecure_channel(str(address)) as channel:
        assert await check(channel, service) == NOT_SERVING
        call = channel.unary_unary(f"/{SERVICE_NAME}/Route")
        refused = await refusal(call(ask("hi").SerializeToString()))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STARTING")
        router_service.open(FakeEngine())
        await server.open_for_calls()
        assert await check(channel, service) == SERVING
        await call(ask("hi").SerializeToString())
    await server.drain(0)
    await server.stop()


async def test_whoever_watches_the_health_hears_of_the_stop_and_does_not_delay_it(served: Served) -> None:
    watch = HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    await served.server.drain(60)
    assert (await watch.read()).status == NOT_SERVING
    await served.server.stop()


async def test_health_of_a_service_that_is_not_here(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(served.channel, "absent")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services_and_describes_ours(served: Served) -> None:
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE_NAME),
    ]
    listed, described = [
        response async for response in ServerReflectionStub(served.channel).ServerReflectionInfo(requests)
    ]
    names = {service.name for service in listed.list_services_response.service}
    assert names >= {"archroute.v1.RouterService", "grpc.health.v1.Health"}
    assert described.file_descriptor_response.file_descriptor_proto


async def test_a_second_server_on_the_same_port_fails(served: Served) -> None:
    second, _ = new_server()
    with pytest.raises(PortInUse, match=str(served.address)):
        await second.start(served.address)
    assert await check(served.channel, "") == SERVING


async def test_a_second_server_fails_even_if_it_comes_between_the_check_and_the_bind(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Address, "check_available", lambda self: None)
    second, _ = new_server()
    with pytest.raises(Exception, match=f"cannot listen on {served.address}"):
        await second.start(served.address)


async def test_the_port_is_free_after_a_stop() -> None:
    first, _ = new_server()
    address = await first.start(Address("127.0.0.1", 0))
    await first.drain(0)
    await first.stop()
    second, _ = new_server()
    assert await second.start(address) == address
    await second.drain(0)
    await second.stop()


@pytest.mark.parametrize("unix", [False, True], ids=["IPv6", "unix"])
async def test_other_addresses(unix: bool, tmp_path: Path) -> None:
    if not unix and not ipv6_works():
        pytest.skip("this machine has no IPv6")
    server, service = new_server()
    wanted = Address(unix_path=str(tmp_path / "s")) if unix else Address("::1", 0)
    address = await server.start(wanted)
    service.open(FakeEngine())
    async with grpc.aio.insecure_channel(str(address)) as channel:
        await channel.unary_unary(f"/{SERVICE_NAME}/Route")(ask("hi").SerializeToString())
    second, _ = new_server()
    with pytest.raises(PortInUse):
        await second.start(address)
    await server.drain(0)
    await server.stop()


def ipv6_works() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_a_stop_waits_for_what_is_under_way_and_refuses_what_is_new(served: Served) -> None:
    hold = served.engine.hold("slow")
    call = asyncio.ensure_future(served.stub.Route(ask("slow")))
    await hold.started.wait()
    draining = asyncio.create_task(served.server.drain(60))
    await served.service.stopping.wait()
    # On the old connection or a new one, nothing is accepted any more.
    refused = await refusal(served.stub.Route(ask("hi")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
    assert not draining.done()
    hold.release.set()
    assert (await call).policy == "code"
    await draining
    await served.server.stop()


async def test_what_outlasts_the_drain_is_told_unavailable(served: Served) -> None:
    hold = served.engine.hold("slow")
    call = asyncio.ensure_future(served.stub.Route(ask("slow")))
    await hold.started.wait()
    await served.server.drain(0)
    await served.engine.close(grace=0)
    stopping = asyncio.create_task(served.server.stop())
    refused = await refusal(call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
    await stopping


async def test_who_comes_again_while_it_stops_is_told_unavailable_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than on a machine that is not busy with other tests.
    monkeypatch.setattr("archroute_server.rpc.server.QUIET_SECONDS", 1.0)
    await served.server.drain(0)
    stopping: asyncio.Task[None] | None = None
    for _ in range(3):
        refused = await refusal(served.stub.Route(ask("hi")))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
        stopping = stopping or asyncio.create_task(served.server.stop())
    assert stopping is not None
    await stopping


async def test_an_old_connection_is_given_up_once_its_calls_are_over() -> None:
    service, policy_set_service = new_services()
    server = RpcServer(
        service,
        policy_set_service,
        AccessLog(),
        max_message_bytes=2**20,
        stream_concurrency=1,
        max_connection_seconds=0.2,
    )
    address = await server.start(Address("127.0.0.1", 0))
    engine = FakeEngine()
    hold = engine.hold("hi")
    service.open(engine)
    async with grpc.aio.insecure_channel(str(address)) as channel:
        call = RouterServiceStub(channel).Route(ask("hi"))
        await hold.started.wait()
        # The caller leaves it for its next call, while the one under way goes on.
        async with asyncio.timeout(60):
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert not call.done()
        hold.release.set()
        assert (await call).policy == "code"
    await server.drain(0)
    await server.stop()
