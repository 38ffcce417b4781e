"""A whole server, calls of every outcome, and the exact counts that a scrape then gives."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.app import Application
from archroute_server.config import Settings
from archroute_server.engine.answer import Answer
from archroute_server.lifecycle.signals import STOP_SIGNALS
from archroute_server.router.decision import Outcome
from archroute_server.rpc.address import Address, PortInUse
from support.fake_engine import FakeEngine
from support.rpc_calls import Log, ask, refusal
from support.scrape import Scrape, scrape

MARKER = "xylophone-7261"
POLICIES = """
policy_sets:
  - name: coding
    default_policy: review
    policies:
      - {name: code, description: Writing code.}
      - {name: review, description: Reading code.}
"""


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICIES)
    return Settings(
        model=tmp_path,
        policies=policies,
        listen=Address(unix_path=str(tmp_path / "socket")),
        metrics_listen=Address("127.0.0.1", 0),
    )


Look = Callable[[], "asyncio.Future[Scrape]"]


@asynccontextmanager
async def running(settings: Settings, engine: FakeEngine, log: Log) -> AsyncIterator[tuple[Any, Look]]:
    """Run a server; give a stub of it, and a look at its metrics."""
    task = asyncio.create_task(Application(settings, load_engine=lambda folder, settings: engine).run())
    async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        async for response in watch:
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                break
        watch.cancel()
        (served,) = log.lines("serving metrics")
        url = f"http://{served['address']}{served['path']}"
        yield RouterServiceStub(channel), lambda: asyncio.ensure_future(asyncio.to_thread(scrape, url))
        signal.raise_signal(signal.SIGTERM)
        await task


def recalled(answer: Answer) -> Answer:
    tokens = replace(answer.tokens, forward_passes=0, forced=0)
    return replace(answer, tokens=tokens, from_decision_cache=True)


def other(answer: Answer) -> Answer:
    return replace(answer, decision=replace(answer.decision, policy=None, outcome=Outcome.OTHER))


def low_confidence(text: str) -> router_pb2.RouteRequest:
    return ask(text, options=router_pb2.RouteOptions(min_probability=0.99))


def inline(text: str) -> router_pb2.RouteRequest:
    policies = [router_pb2.Policy(name=f"{MARKER} policy", description=MARKER)]
    return ask(text, inline_policies=router_pb2.InlinePolicies(policies=policies))


async def test_calls_of_every_outcome(settings: Settings, log: Log) -> None:
    engine = FakeEngine()
    engine.answer("recalled", recalled)
    engine.answer("other", other)
    engine.fail("broken", RuntimeError(MARKER))
    engine.hold("held")
    expired, abandoned = engine.hold("expired"), engine.hold("abandoned")
    async with running(settings, engine, log) as (stub, look):
        assert (await look()).value("archroute_ready") == 1
        for _ in range(3):
            await stub.Route(ask(MARKER))
        await stub.Route(ask("recalled"))
        await stub.Route(ask("other"))
        await stub.Route(low_confidence(MARKER))
        await stub.Route(inline(MARKER))
        hurried = router_pb2.RouteOptions()
        hurried.decide_by.FromMilliseconds(20)
        await stub.Route(ask("held", options=hurried))
        await stub.ListPolicySets(router_pb2.ListPolicySetsRequest())
        await refusal(stub.Route(router_pb2.RouteRequest()))
        await refusal(stub.Route(ask(MARKER, policy_set=MARKER)))
        await refusal(stub.Route(ask("broken")))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Route(ask("expired"), timeout=0.2)
        await expired.cancelled.wait()
        call = stub.Route(ask("abandoned"))
        await abandoned.started.wait()
        call.cancel()
        await abandoned.cancelled.wait()
        stream = stub.RouteStream(iter([router_pb2.RouteStreamRequest(request_id="a", request=ask(MARKER))]))
        assert [answer.request_id async for answer in stream] == ["a"]
        found = await look()
    requests = found.by("archroute_requests_total", "method", "code", "reason", "outcome")
    # The caller's clock may be first to end the call that expires, and that looks like giving up.
    expired_calls = sum(requests.pop(key) for key in list(requests) if key[1] == "DEADLINE_EXCEEDED")
    given_up = sum(requests.pop(key) for key in list(requests) if key[1] == "CANCELLED")
    assert expired_calls + given_up == 2
    assert given_up >= 1
    assert requests == {
        ("Route", "OK", "", "MATCHED"): 5,
        ("Route", "OK", "", "OTHER"): 1,
        ("Route", "OK", "", "LOW_CONFIDENCE"): 1,
        ("Route", "OK", "DECIDE_BY_PASSED", "FALLBACK"): 1,
        ("RouteStream", "OK", "", "MATCHED"): 1,
        ("ListPolicySets", "OK", "", ""): 1,
        ("Route", "INVALID_ARGUMENT", "INVALID_REQUEST", ""): 1,
        ("Route", "NOT_FOUND", "POLICY_SET_NOT_FOUND", ""): 1,
        ("Route", "INTERNAL", "INTERNAL", ""): 1,
    }
    assert found.by("archroute_streams_total", "code") == {"OK": 1}
    assert found.by("archroute_answers_total", "decided_by") == {
        "model": 7,
        "decision_cache": 1,
        "fallback": 1,
        "error": 1 + expired_calls,
    }
    assert found.by("archroute_decisions_total", "policy_set", "policy") == {
        ("coding", "code"): 5,
        ("coding", "review"): 1,
        ("coding", "other"): 1,
        ("coding", "(none)"): 1,
        ("(inline)", "(inline)"): 1,
    }
    for stage, count in {"request": 9, "queue": 9, "tokenize": 8, "inference": 7}.items():
        assert found.value(f"archroute_{stage}_duration_seconds_count") == count
    assert found.value("archroute_forced_tokens_total") == 7 * 9
    assert found.value("archroute_truncated_requests_total") == 8
    assert found.value("archroute_dropped_tokens_total") == 8 * 7
    assert found.value("archroute_dropped_messages_total") == 8 * 2
    # Neither what was said, nor what callers call their policies, nor the text of errors.
    assert MARKER not in found.text
    assert engine.decided


async def test_metrics_are_there_before_the_model_and_until_the_end(settings: Settings, log: Log) -> None:
    engine = FakeEngine()
    warming = engine.hold("Does the model run?")
    task = asyncio.create_task(Application(settings, load_engine=lambda folder, settings: engine).run())
    await warming.started.wait()
    url = f"http://{log.lines('serving metrics')[0]['address']}/metrics"
    found = await asyncio.to_thread(scrape, url)
    assert found.value("archroute_ready") == 0
    assert "archroute_ready" in found.names()
    assert "archroute_build_info" not in found.names()
    warming.release.set()
    signal.raise_signal(signal.SIGTERM)
    await task
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(scrape, url)


async def test_without_an_address_nothing_listens(settings: Settings, log: Log) -> None:
    quiet = replace(settings, metrics_listen=None)
    engine = FakeEngine()
    task = asyncio.create_task(Application(quiet, load_engine=lambda folder, settings: engine).run())
    async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
        await RouterServiceStub(channel).ListPolicySets(
            router_pb2.ListPolicySetsRequest(), wait_for_ready=True
        )
    signal.raise_signal(signal.SIGTERM)
    await task
    assert not log.lines("serving metrics")


async def test_a_taken_port_is_told_before_anything_else(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        application = Application(replace(settings, metrics_listen=address, policies=Path("missing")))
        with pytest.raises(PortInUse, match=f"{address}: another process .* with --metrics-listen"):
            await application.run()
