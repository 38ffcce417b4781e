"""A real server on a real socket, in front of an engine without a model."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.rpc.address import Address
from support.fake_engine import FakeEngine
from support.rpc_calls import Log, Served, logging_to_memory, new_server
from support.signals import given_back


@pytest.fixture
async def served(log: Log) -> AsyncIterator[Served]:
    server, service = new_server()
    address = await server.start(Address("127.0.0.1", 0))
    engine = FakeEngine()
    service.open(engine)
    await server.open_for_calls()
    async with grpc.aio.insecure_channel(str(address)) as channel:
        yield Served(server, service, engine, address, channel, RouterServiceStub(channel))
    await server.drain(0)
    await engine.close(grace=0)
    await server.stop()


@pytest.fixture
def log() -> Iterator[Log]:
    """Log to memory, libraries too."""
    with logging_to_memory() as log:
        yield log


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Give the signals back that a server took which runs in the test's own process."""
    with given_back():
        yield
