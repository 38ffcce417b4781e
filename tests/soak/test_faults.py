"""A model that raises, hangs, or gives no numbers, behind a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.bundle.bundle import open_bundle
from archroute_server.engine.engine import Engine
from archroute_server.engine.limits import Limits
from archroute_server.metrics.metrics import Metrics
from archroute_server.rpc.address import Address
from archroute_server.rpc.server import RpcServer
from archroute_server.telemetry.access_log import AccessLog
from support.bundles import open_encoder, open_session
from support.engine_calls import IDENTITY
from support.holdings import under_way
from support.misbehaving_model import PATIENCE, MisbehavingModel
from support.open_loop import Call
from support.rpc_calls import ask, new_services
from support.scrape import Scrape, read_registry
from support.soak import pick
from support.traffic import status_of

CALLS = pick(short=20, long=1000)

# No cache of decisions, which would answer without the model.
LIMITS = Limits(decision_cache_entries=0)


@dataclass
class Faulty:
    """A server whose model fails on command, and a stub of it."""

    model: MisbehavingModel
    metrics: Metrics
    stub: Any

    def look(self) -> Scrape:
        return read_registry(self.metrics.registry)

    def question(self, number: int, **options: Any) -> Call:
        request = ask(f"Question {number}", **options)
        return lambda: status_of(self.stub.Route(request, timeout=PATIENCE))


@pytest.fixture
async def faulty(bundle: Path) -> AsyncIterator[Faulty]:
    opened = open_bundle(bundle)
    model = MisbehavingModel(open_session(opened))
    end_of_turn = opened.manifest.prompt.end_of_turn
    engine = Engine(model, open_encoder(opened), end_of_turn, IDENTITY, LIMITS)
    metrics = Metrics()
    metrics.engine.open(engine)
    service, policy_set_service = new_services(max_deadline=PATIENCE)
    access_log = AccessLog(observe=metrics.requests.observe)
    server = RpcServer(service, policy_set_service, access_log, max_message_bytes=2**20, stream_concurrency=8)
    address = await server.start(Address("127.0.0.1", 0))
    service.open(engine)
    await server.open_for_calls()
    async with grpc.aio.insecure_channel(str(address)) as channel:
        yield Faulty(model, metrics, RouterServiceStub(channel))
        await until(lambda: under_way(read_registry(metrics.registry)) == (0, 0, 0))
    await server.drain(0)
    await engine.close(grace=0)
    await server.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Let the event loop run until it holds. A caller's clock may end a call before the server's does."""
    while not holds():
        await asyncio.sleep(0.01)


def answers(faulty: Faulty) -> dict[str | tuple[str, ...], float]:
    return faulty.look().by("archroute_answers_total", "decided_by")


@pytest.mark.parametrize("fault", ["raises", "gives NaN"])
async def test_one_pass_that_fails_fails_one_request(
    faulty: Faulty, fault: str, record_property: Callable[[str, object], None]
) -> None:
    fail = {"raises": faulty.model.raise_next, "gives NaN": faulty.model.give_nan_next}[fault]
    ended = []
    for number in range(CALLS):
        if number == CALLS // 2:
            fail()
        ended.append(await faulty.question(number)())
    record_property("calls, and those that failed", f"{len(ended)}, {CALLS - ended.count('OK')}")
    assert faulty.model.failures == 1
    # The one that met the fault, and none after it.
    assert [number for number, status in enumerate(ended) if status != "OK"] == [CALLS // 2]
    assert answers(faulty) == {"model": CALLS - 1, "error": 1}


@pytest.mark.parametrize("fault", ["raises", "gives NaN"])
async def test_a_model_that_always_fails_is_never_taken_for_one_that_decides(
    faulty: Faulty, fault: str, record_property: Callable[[str, object], None]
) -> None:
    fail = {"raises": faulty.model.raise_next, "gives NaN": faulty.model.give_nan_next}[fault]
    fail(10**9)
    ended = await asyncio.gather(*(faulty.question(number)() for number in range(CALLS)))
    record_property("calls, and those that failed", f"{len(ended)}, {CALLS - ended.count('OK')}")
    assert ended.count("OK") == 0
    assert answers(faulty) == {"error": CALLS}


async def test_a_model_that_hangs_keeps_no_caller_beyond_its_deadline(
    faulty: Faulty, record_property: Callable[[str, object], None]
) -> None:
    hurried = router_pb2.RouteOptions()
    hurried.decide_by.FromMilliseconds(50)
    assert await faulty.question(0)() == "OK"
    with faulty.model.hanging() as hangs:
        first = asyncio.ensure_future(faulty.question(1)())
        await asyncio.to_thread(hangs.wait, PATIENCE)
        stuck = [status_of(faulty.stub.Route(ask(f"Stuck {number}"), timeout=2)) for number in range(CALLS)]
        ended = await asyncio.gather(*stuck)
        fallback = await faulty.stub.Route(ask("Stuck too", options=hurried), timeout=PATIENCE)
        await until(lambda: faulty.look().value("archroute_admitted_requests_under_way") == 1)
        assert faulty.look().value("archroute_queue_requests") == 0
    record_property("calls while it hung", str({status: ended.count(status) for status in set(ended)}))
    assert set(ended) <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    assert fallback.outcome == router_pb2.OUTCOME_FALLBACK
    # It goes on where it stopped, and what nobody waits for any more costs no pass.
    assert await first == "OK"
    runs = faulty.model.runs
    assert await faulty.question(2)() == "OK"
    assert faulty.model.runs == runs + 1
