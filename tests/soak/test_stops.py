"""SIGTERM under load, again and again: who was let in is answered, and who comes later is told so."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from archroute.v1.router_pb2_grpc import RouterServiceStub
from support.holdings import WatchedServer, wait_until, watched_server
from support.rpc_calls import ask
from support.server_process import PATIENCE
from support.soak import pick
from support.traffic import status_of

STOPS = pick(short=2, long=20)
SECONDS_PER_PASS = 0.02

# Let in before the signal, and so many callers who go on asking while the server stops.
LET_IN = 12
CALLERS = 4

# Who comes at the very moment in which gRPC itself stops may be told CANCELLED by it: see `RpcServer.drain`.
# The service never hears of such a call.
LATE = frozenset({"OK", "UNAVAILABLE", "CANCELLED"})


async def ask_until_it_is_gone(stub: Any, caller: int) -> Counter[str]:
    """Ask again and again until the server says that it stops, or is gone."""
    ended: Counter[str] = Counter()
    while not ended["UNAVAILABLE"]:
        question = ask(f"Question {caller}/{ended.total()}")
        ended[await status_of(stub.Route(question, timeout=PATIENCE))] += 1
    return ended


async def stop_under_load(server: WatchedServer) -> tuple[list[str], Counter[str]]:
    """Return how the calls ended that were let in before the signal, and the others."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = RouterServiceStub(channel)
        admitted = "archroute_admitted_requests_total"
        before = server.metrics().value(admitted)
        questions = [ask(f"Let in {number}") for number in range(LET_IN)]
        calls = [asyncio.ensure_future(status_of(stub.Route(each, timeout=PATIENCE))) for each in questions]

        def all_are_in() -> bool:
            return server.metrics().value(admitted) == before + LET_IN

        await asyncio.to_thread(wait_until, all_are_in, "not all calls were let in")
        callers = [asyncio.create_task(ask_until_it_is_gone(stub, caller)) for caller in range(CALLERS)]
        server.process.process.send_signal(signal.SIGTERM)
        let_in = await asyncio.gather(*calls)
        others = sum(await asyncio.gather(*callers), Counter())
    return let_in, others


@pytest.mark.timeout(STOPS * 60 + 300)
async def test_nothing_under_way_is_lost_when_the_server_stops(
    bundle: Path, policies: Path, record_property: Callable[[str, object], None]
) -> None:
    in_time: Counter[str] = Counter()
    late: Counter[str] = Counter()
    arguments = ("--model", bundle, "--policies", policies, "--drain-seconds", str(PATIENCE))
    for _ in range(STOPS):
        with watched_server(*arguments, seconds_per_pass=SECONDS_PER_PASS) as server:
            let_in, others = await stop_under_load(server)
            assert await asyncio.to_thread(server.process.process.wait, PATIENCE) == 0
            server.process.wait_for("stopped")
            told = Counter(entry["code"] for entry in server.process.events("request"))
            assert not server.process.events("internal error")
        assert let_in == ["OK"] * LET_IN
        assert others.keys() <= LATE
        # What the server says that it answered is what arrived.
        assert told["OK"] == LET_IN + others["OK"]
        assert told.keys() <= {"OK", "UNAVAILABLE"}
        in_time.update(let_in)
        late.update(others)
    record_property("stops", STOPS)
    record_property("let in before the signal", str(dict(in_time)))
    record_property("asked while it stopped", str(dict(late)))


@pytest.mark.timeout(300)
async def test_without_time_to_drain_those_who_wait_are_told(
    bundle: Path, policies: Path, record_property: Callable[[str, object], None]
) -> None:
    arguments = ("--model", bundle, "--policies", policies, "--drain-seconds", "0")
    with watched_server(*arguments, seconds_per_pass=SECONDS_PER_PASS) as server:
        let_in, others = await stop_under_load(server)
        assert await asyncio.to_thread(server.process.process.wait, PATIENCE) == 0
        server.process.wait_for("stopped")
    record_property("let in before the signal", str(dict(Counter(let_in))))
    record_property("asked while it stopped", str(dict(others)))
    assert set(let_in) <= {"OK", "UNAVAILABLE"}
    assert others.keys() <= LATE
