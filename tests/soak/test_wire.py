"""Requests whose bytes were tampered with, over the wire: each is answered, and none is a defect."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.rpc.servicer import SERVICE_NAME
from support.holdings import WatchedServer, watched_server
from support.mutations import mutated, varint
from support.request_seeds import SEEDS
from support.rpc_calls import ask
from support.server_process import PATIENCE
from support.soak import pick
from support.traffic import status_of

REQUESTS = pick(short=2_000, long=100_000)
STREAMS = pick(short=100, long=5_000)
REQUESTS_IN_A_STREAM = 4
AT_A_TIME = 16
TIMEOUT = pick(short=300, long=3_600)

# How a request may end that is right or wrong. INTERNAL and UNKNOWN are not among them: those are defects.
DECLARED = frozenset(
    {
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
        "DEADLINE_EXCEEDED",
    }
)


@pytest.fixture(scope="module")
def server(bundle: Path, policies: Path) -> Iterator[WatchedServer]:
    with watched_server("--model", bundle, "--policies", policies, "--queue-requests", "32") as server:
        yield server
        assert server.process.stop() == 0


def unary(channel: grpc.aio.Channel) -> Callable[[bytes], Any]:
    """Return the method as it takes bytes."""
    method = channel.unary_unary(f"/{SERVICE_NAME}/Route")
    return lambda data: method(data, timeout=PATIENCE)


async def send(channel: grpc.aio.Channel, count: int, each: Callable[[int], Any]) -> Counter[str]:
    """Make so many calls, a few at a time, and count how they ended."""
    ended: Counter[str] = Counter()
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            ended[await each(number)] += 1

    await asyncio.gather(*(caller() for _ in range(AT_A_TIME)))
    return ended


async def check_health(server: WatchedServer) -> None:
    """The server has no defect to report, nothing under way, and still decides."""
    await asyncio.to_thread(server.wait_until_idle)
    assert not server.process.events("internal error")
    async with grpc.aio.insecure_channel(server.address) as channel:
        response = await RouterServiceStub(channel).Route(ask("Are you well?"), timeout=PATIENCE)
    assert response.outcome in (router_pb2.OUTCOME_MATCHED, router_pb2.OUTCOME_OTHER)


@pytest.mark.timeout(TIMEOUT)
async def test_mutated_requests(
    server: WatchedServer, record_property: Callable[[str, object], None]
) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        route = unary(channel)

        async def each(number: int) -> str:
            return await status_of(route(mutated(SEEDS, random.Random(number))))

        ended = await send(channel, REQUESTS, each)
    record_property("requests by status", str(dict(ended.most_common())))
    assert ended.total() == REQUESTS
    assert ended.keys() <= DECLARED
    # Else the changes would be too few to try anything, or so many that nothing gets through.
    assert {"OK", "INVALID_ARGUMENT"} <= ended.keys()
    await check_health(server)


@pytest.mark.timeout(TIMEOUT)
async def test_mutated_requests_of_a_stream(
    server: WatchedServer, record_property: Callable[[str, object], None]
) -> None:
    seeds = [
        router_pb2.RouteStreamRequest(
            request_id="1", request=router_pb2.RouteRequest.FromString(seed)
        ).SerializeToString()
        for seed in SEEDS
    ]
    answers: Counter[str] = Counter()
    names = {code.value[0]: code.name for code in grpc.StatusCode}

    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = channel.stream_stream(
            f"/{SERVICE_NAME}/RouteStream",
            response_deserializer=router_pb2.RouteStreamResponse.FromString,
        )

        async def each(number: int) -> str:
            chance = random.Random(number)
            call = stream(timeout=PATIENCE)

            async def converse() -> None:
                # One after the other: gRPC for asyncio has an error of its own for what is sent into a stream
                # that has ended, which hides how it ended.
                for _ in range(REQUESTS_IN_A_STREAM):
                    await call.write(mutated(seeds, chance))
                    answer = await call.read()
                    answers[names[answer.error.code]] += 1
                await call.done_writing()

            status = await status_of(converse())
            return (await call.code()).name if status == "OK" else status

        ended = await send(channel, STREAMS, each)
    record_property("streams by status", str(dict(ended.most_common())))
    record_property("answers on them by status", str(dict(answers.most_common())))
    assert ended.total() == STREAMS
    assert ended.keys() <= DECLARED
    assert answers.keys() <= DECLARED
    await check_health(server)


MANY = 1_000_000


def field(number: int, content: bytes) -> bytes:
    """Write a field of a message that holds bytes, text, or another message."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


# Each takes two bytes, so that a million fit into the largest request that is accepted.
@pytest.mark.parametrize(
    "data",
    [field(3, b"") * MANY, field(3, field(2, b"") * MANY), field(2, field(1, b"") * MANY)],
    ids=["messages", "parts of a message", "policies"],
)
@pytest.mark.timeout(TIMEOUT)
async def test_a_million_of_something(server: WatchedServer, data: bytes) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert await status_of(unary(channel)(data)) == "INVALID_ARGUMENT"
    await check_health(server)
