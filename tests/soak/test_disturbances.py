"""Callers who die, who are in a hurry, who do not read, who come all at once.

The model takes a fixed time for each pass, so that there is a queue on any machine.
"""

import asyncio
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from support.holdings import WatchedServer, requests_by_code, watched_server
from support.open_loop import Call, Ended, closed_loop, open_loop, percentile, statuses
from support.rpc_calls import ask
from support.server_process import PATIENCE, clean_environment
from support.soak import pick
from support.traffic import EXPECTED, Traffic, status_of

SECONDS_PER_PASS = 0.02
QUEUE_REQUESTS = 32

DOOMED_CLIENT = Path(__file__).parents[1] / "support" / "doomed_client.py"
DOOMED_CLIENTS = pick(short=2, long=60)
CLIENTS_AT_A_TIME = 2

HURRIED_CALLS = pick(short=150, long=20_000)
SLOW_READERS = pick(short=3, long=30)
QUESTIONS_OF_A_SLOW_READER = 40
HALF_OPEN_CONNECTIONS = pick(short=20, long=500)
OVERLOAD_SECONDS = pick(short=2.0, long=60.0)
OVERLOAD = 10
OVERLOAD_DEADLINE = 2.0
CALLERS_AT_CAPACITY = 8
TIMEOUT = pick(short=300, long=1200)

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# A header block that announces 16,384 bytes and does not send them.
HTTP2_UNFINISHED = b"\x00\x40\x00\x01\x04\x00\x00\x00\x01"

Count = Callable[[str, object], None]


@pytest.fixture(scope="module")
def server(bundle: Path, policies: Path) -> Iterator[WatchedServer]:
    arguments = ("--model", bundle, "--policies", policies, "--decision-cache-entries", "0")
    bound = ("--queue-requests", str(QUEUE_REQUESTS))
    with watched_server(*arguments, *bound, seconds_per_pass=SECONDS_PER_PASS) as server:
        yield server
        assert server.process.stop() == 0
        assert not server.process.events("internal error")


@pytest.fixture(autouse=True)
def nothing_is_left_behind(server: WatchedServer, record_property: Count) -> Iterator[None]:
    """Whatever was done to it, the server is idle in the end, well, and holds no more than before."""
    check_health(server)  # what the first connection of all leaves behind is no leak
    before = server.settled_holdings()
    counted = requests_by_code(server.metrics())
    yield
    metrics = server.wait_until_idle()
    server.wait_until_released(before)
    ended = requests_by_code(metrics) - counted
    record_property("requests as the server counted them", str(dict(ended)))
    assert ended.keys() <= EXPECTED
    check_health(server)


def check_health(server: WatchedServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.timeout(TIMEOUT)
def test_clients_killed_in_the_middle_of_a_call(server: WatchedServer, record_property: Count) -> None:
    command = [sys.executable, "-P", DOOMED_CLIENT, server.address]
    for _ in range(DOOMED_CLIENTS // CLIENTS_AT_A_TIME):
        with ExitStack() as stack:
            clients = [
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment())
                for _ in range(CLIENTS_AT_A_TIME)
            ]
            for client in clients:
                stack.enter_context(client)
                stack.callback(client.kill)
            for client in clients:
                assert client.stdout is not None
                assert client.stdout.readline() == "answered\n"
    record_property("clients killed", DOOMED_CLIENTS)


@pytest.mark.timeout(TIMEOUT)
async def test_callers_in_a_hurry(server: WatchedServer, record_property: Count) -> None:
    """Deadlines from 1 ms to 2 s, and some who give up by themselves after such a time."""
    chances = random.Random(1)

    def call(stub: Any, number: int) -> Call:
        seconds = 0.001 * 2000 ** chances.random()
        hurried = give_up if chances.random() < 0.1 else ask_in_time
        return partial(hurried, stub, ask(f"Question {number} in a hurry"), seconds)

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = RouterServiceStub(channel)
        calls = [call(stub, number) for number in range(HURRIED_CALLS)]
        by_status = statuses(await open_loop(calls, rate=1 / SECONDS_PER_PASS))
    record_property("calls by status", str(by_status))
    assert by_status.keys() <= EXPECTED
    assert sum(by_status.values()) == HURRIED_CALLS


async def ask_in_time(stub: Any, request: router_pb2.RouteRequest, seconds: float) -> str:
    return await status_of(stub.Route(request, timeout=seconds))


async def give_up(stub: Any, request: router_pb2.RouteRequest, seconds: float) -> str:
    call = stub.Route(request, timeout=PATIENCE)
    asyncio.get_running_loop().call_later(seconds, call.cancel)
    try:
        return await status_of(call)
    except asyncio.CancelledError:
        if not call.cancelled():  # it is the test that was cancelled
            raise
        return "CANCELLED"


# An answer brings it back: so large that a few answers fill the connection's window.
LARGE_SESSION_ID = "s" * 16_384


async def read_slowly(stub: Any, reader: int) -> list[str]:
    """Ask as fast as the server takes it, and take an answer now and then."""
    requests = [
        router_pb2.RouteStreamRequest(
            request_id=str(number),
            request=ask(f"Question {reader}/{number}", session_id=LARGE_SESSION_ID),
        )
        for number in range(QUESTIONS_OF_A_SLOW_READER)
    ]
    answers = []
    async for answer in stub.RouteStream(iter(requests), timeout=PATIENCE * 2):
        answers.append("RESOURCE_EXHAUSTED" if answer.HasField("error") else "OK")
        assert answer.error.code in (0, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        await asyncio.sleep(SECONDS_PER_PASS)
    return answers


@pytest.mark.timeout(TIMEOUT)
async def test_slow_readers(server: WatchedServer, record_property: Count) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = RouterServiceStub(channel)
        readers = await asyncio.gather(*(read_slowly(stub, reader) for reader in range(SLOW_READERS)))
    record_property("answers on slow streams", str(dict(Counter(chain.from_iterable(readers)))))
    assert [len(answers) for answers in readers] == [QUESTIONS_OF_A_SLOW_READER] * SLOW_READERS


@pytest.mark.timeout(TIMEOUT)
async def test_half_open_connections(server: WatchedServer, record_property: Count) -> None:
    """Connections that say nothing, that stop in the middle of a frame, and that close one direction."""
    host, _, port = server.address.rpartition(":")
    with ExitStack() as stack:
        for number in range(HALF_OPEN_CONNECTIONS):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
            if number % 3:
                connection.sendall(HTTP2_PREFACE + HTTP2_UNFINISHED)
            if number % 3 == 2:
                connection.shutdown(socket.SHUT_WR)
        async with grpc.aio.insecure_channel(server.address) as channel:
            traffic = Traffic(channel, seed=1)
            answers = [await traffic.question(number)() for number in range(10)]
    record_property("connections", HALF_OPEN_CONNECTIONS)
    assert answers == ["OK"] * 10


@pytest.mark.timeout(TIMEOUT)
async def test_ten_times_what_it_can_do(server: WatchedServer, record_property: Count) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        traffic = Traffic(channel, seed=1, timeout=OVERLOAD_DEADLINE)
        numbers = count()
        at_capacity, seconds = await closed_loop(
            lambda: traffic.question(next(numbers))(), callers=CALLERS_AT_CAPACITY, seconds=OVERLOAD_SECONDS
        )
        capacity = max(1, statuses(at_capacity).get("OK", 0)) / seconds
        offered = int(OVERLOAD * capacity * OVERLOAD_SECONDS)
        clock = asyncio.get_running_loop().time
        began = clock()
        overloaded = await open_loop(
            [traffic.question(next(numbers)) for _ in range(offered)], OVERLOAD * capacity
        )
        goodput = statuses(overloaded).get("OK", 0) / (clock() - began)
    record_property("at capacity, by status", str(statuses(at_capacity)))
    record_property("overloaded, by status", str(statuses(overloaded)))
    record_property("goodput at capacity and overloaded (1/s)", f"{capacity:.1f}, {goodput:.1f}")
    record_property("goodput overloaded against capacity", f"{goodput / capacity:.0%}")
    record_property("p50, p99 of the answered at capacity (s)", quantiles(at_capacity))
    record_property("p50, p99 of the answered when overloaded (s)", quantiles(overloaded))
    for ended in (at_capacity, overloaded):
        assert statuses(ended).keys() <= EXPECTED
    assert len(overloaded) == offered


def quantiles(ended: Sequence[Ended]) -> str:
    return f"{percentile(ended, 0.5):.3f}, {percentile(ended, 0.99):.3f}"
