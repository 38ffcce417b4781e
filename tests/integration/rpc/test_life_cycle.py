import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from archroute.commands import CommandError
from archroute_server import app
from archroute_server.app import Application
from archroute_server.bundle.errors import BundleError
from archroute_server.catalogue.errors import UnservablePolicySet
from archroute_server.config import Settings
from archroute_server.engine.errors import ModelFailed
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.engine.warm_up import WARM_UP_MESSAGES
from archroute_server.lifecycle.signals import STOP_SIGNALS, end_at_once
from archroute_server.lifecycle.warm_up import ModelUnusable
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.policy_file import PolicyFileError
from archroute_server.rpc.address import Address, PortInUse
from archroute_server.rpc.servicer import SERVICE_NAME
from archroute_server.telemetry.logging import LogFormat
from support.fake_engine import FakeEngine
from support.rpc_calls import Log, ask

POLICIES = """
default: coding
policy_sets:
  - name: coding
    policies:
      - name: code
        description: Writing code.
  - name: talking
    policies:
      - name: talk
        description: Small talk.
"""

WARM_UP_TEXT = WARM_UP_MESSAGES[0].text


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.yaml"
    path.write_text(POLICIES)
    return path


@pytest.fixture
def settings(tmp_path: Path, policies: Path) -> Settings:
    listen = Address(unix_path=str(tmp_path / "socket"))
    return Settings(model=tmp_path, policies=policies, listen=listen, log_format=LogFormat.JSON)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@asynccontextmanager
async def running(
    settings: Settings, load_engine: Callable[[Path, Settings], Any]
) -> AsyncIterator[tuple[asyncio.Task[None], grpc.aio.Channel]]:
    task = asyncio.create_task(Application(settings, load_engine=load_engine).run())
    async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
        yield task, channel


async def until(channel: grpc.aio.Channel, wanted: int) -> None:
    watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    async for response in watch:
        if response.status == wanted:
            break
    watch.cancel()


SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("stop", STOP_SIGNALS, ids=lambda number: number.name)
async def test_a_life(settings: Settings, engine: FakeEngine, log: Log, stop: signal.Signals) -> None:
    async with running(settings, lambda folder, settings: engine) as (task, channel):
        await until(channel, SERVING)
        # Warm before it said so, once for each policy set.
        assert [policy_set.name for policy_set, _ in engine.decided] == ["coding", "talking"]
        await channel.unary_unary(f"/{SERVICE_NAME}/Route")(ask("hi").SerializeToString())
        signal.raise_signal(stop)
        await task
    assert engine.closed.is_set()
    events = [line["event"] for line in log.lines() if line["level"] == "info"]
    assert events == [
        "listening, not ready yet",
        "loading the model",
        "self-test passed",
        "ready",
        "request",
        "stopping",
        "stopped",
    ]
    (ready,) = log.lines("ready")
    assert ready["policy_sets"] == ["coding", "talking"]
    assert ready["address"] == str(settings.listen)


async def test_the_port_that_was_chosen_is_logged(settings: Settings, engine: FakeEngine, log: Log) -> None:
    any_port = Settings(model=settings.model, listen=Address("127.0.0.1", 0))
    called = asyncio.Event()
    loop = asyncio.get_running_loop()

    def load(folder: Path, settings: Settings) -> FakeEngine:
        loop.call_soon_threadsafe(called.set)
        return engine

    task = asyncio.create_task(Application(any_port, load_engine=load).run())
    await called.wait()
    port = Address.parse(log.lines("listening, not ready yet")[0]["address"]).port
    assert port > 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await until(channel, SERVING)
    # Without policy sets it warms up with policies of its own.
    assert [policy_set.name for policy_set, _ in engine.decided] == [""]
    signal.raise_signal(signal.SIGTERM)
    await task


async def test_it_does_not_serve_before_it_is_warm(settings: Settings, engine: FakeEngine) -> None:
    hold = engine.hold(WARM_UP_TEXT)
    async with running(settings, lambda folder, settings: engine) as (task, channel):
        await hold.started.wait()
        response = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        assert response.status == NOT_SERVING
        hold.release.set()
        await until(channel, SERVING)
        signal.raise_signal(signal.SIGTERM)
        await task


async def test_a_request_under_way_is_answered_before_the_end(settings: Settings, engine: FakeEngine) -> None:
    hold = engine.hold("slow")
    async with running(settings, lambda folder, settings: engine) as (task, channel):
        await until(channel, SERVING)
        call = asyncio.ensure_future(
            channel.unary_unary(f"/{SERVICE_NAME}/Route")(ask("slow").SerializeToString())
        )
        await hold.started.wait()
        signal.raise_signal(signal.SIGTERM)
        await until_event_loop_saw_the_signal()
        assert not engine.closed.is_set()
        hold.release.set()
        assert await call
        await task


async def until_event_loop_saw_the_signal() -> None:
    while signal.getsignal(signal.SIGTERM) is not end_at_once:
        await asyncio.sleep(0)


async def test_a_second_signal_is_to_end_the_process(settings: Settings, engine: FakeEngine) -> None:
    hold = engine.hold(WARM_UP_TEXT)
    async with running(settings, lambda folder, settings: engine) as (task, _):
        await hold.started.wait()
        assert signal.getsignal(signal.SIGTERM) is not end_at_once
        signal.raise_signal(signal.SIGINT)
        await task
    assert {signal.getsignal(number) for number in STOP_SIGNALS} == {end_at_once}


async def test_a_stop_while_warming_up_closes_the_engine(
    settings: Settings, engine: FakeEngine, log: Log
) -> None:
    hold = engine.hold(WARM_UP_TEXT)
    async with running(settings, lambda folder, settings: engine) as (task, _):
        await hold.started.wait()
        signal.raise_signal(signal.SIGTERM)
        await task
    assert hold.cancelled.is_set()
    assert engine.closed.is_set()
    assert log.lines("ready") == []


async def test_a_stop_while_the_embedded_model_is_built(settings: Settings, log: Log) -> None:
    building = asyncio.Event()
    ended = asyncio.Event()

    async def build() -> Path:
        building.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    def never(folder: Path, settings: Settings) -> FakeEngine:
        raise AssertionError

    without_model = Settings(listen=settings.listen)
    task = asyncio.create_task(Application(without_model, load_engine=never, find_bundle=build).run())
    await building.wait()
    signal.raise_signal(signal.SIGTERM)
    await task
    assert ended.is_set()
    assert not log.worst()


async def test_the_embedded_model_is_used_without_another(settings: Settings, engine: FakeEngine) -> None:
    loaded = []

    async def find() -> Path:
        return Path("embedded")

    def load(folder: Path, settings: Settings) -> FakeEngine:
        loaded.append(folder)
        return engine

    without_model = Settings(listen=settings.listen)
    task = asyncio.create_task(Application(without_model, load_engine=load, find_bundle=find).run())
    async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
        await until(channel, SERVING)
    signal.raise_signal(signal.SIGTERM)
    await task
    assert loaded == [Path("embedded").resolve()]


async def test_a_policy_set_that_does_not_work_is_named(settings: Settings, engine: FakeEngine) -> None:
    engine.fail(WARM_UP_TEXT, InvalidRequest(Violation("policies", "take 9000 tokens")))
    with pytest.raises(
        UnservablePolicySet,
        match=r"policies\.yaml:4:11: .*'coding' cannot be served .* policies: take 9000 tokens",
    ):
        await Application(settings, load_engine=lambda folder, settings: engine).run()
    assert engine.closed.is_set()


async def test_a_model_that_cannot_decide_is_a_message_and_no_traceback(
    settings: Settings, engine: FakeEngine
) -> None:
    failed = ModelFailed()
    failed.__cause__ = RuntimeError("no kernel")
    engine.fail(WARM_UP_TEXT, failed)
    with pytest.raises(
        ModelUnusable,
        match=r"sha256:0123 cannot decide a first request: RuntimeError: no kernel\.",
    ):
        await Application(settings, load_engine=lambda folder, settings: engine).run()
    assert engine.closed.is_set()
    assert {ModelUnusable, SelfTestFailed, UnservablePolicySet} <= set(app.STARTUP_ERRORS)


async def test_a_bundle_that_answers_otherwise_is_refused_unless_told(
    settings: Settings, engine: FakeEngine, log: Log
) -> None:
    engine.self_test = SelfTestFailed("prompt 3 of 6")
    with pytest.raises(SelfTestFailed, match="prompt 3 of 6"):
        await Application(settings, load_engine=lambda folder, settings: engine).run()
    assert engine.closed.is_set()
    untested = FakeEngine()
    untested.self_test = engine.self_test
    async with running(replace(settings, self_test=False), lambda *_: untested) as (task, channel):
        await until(channel, SERVING)
        signal.raise_signal(signal.SIGTERM)
        await task


async def test_a_bundle_without_fixed_prompts_is_served_and_said_so(
    settings: Settings, engine: FakeEngine, log: Log
) -> None:
    engine.self_test = None
    async with running(settings, lambda folder, settings: engine) as (task, channel):
        await until(channel, SERVING)
        signal.raise_signal(signal.SIGTERM)
        await task
    (warning,) = [line for line in log.lines() if line["level"] == "warning"]
    assert warning["event"].startswith("no self-test: the bundle was exported before")


async def test_requests_are_taken_until_load_balancers_know(settings: Settings, engine: FakeEngine) -> None:
    # So long that the test ends it, by cancelling, and not the clock.
    slow = replace(settings, drain_delay_seconds=3600)
    async with running(slow, lambda folder, settings: engine) as (task, channel):
        await until(channel, SERVING)
        signal.raise_signal(signal.SIGTERM)
        await until(channel, NOT_SERVING)
        route = channel.unary_unary(f"/{SERVICE_NAME}/Route")
        assert await route(ask("hi").SerializeToString())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert engine.closed.is_set()


async def test_a_model_that_hangs_does_not_hold_up_the_stop(
    settings: Settings, engine: FakeEngine, log: Log
) -> None:
    engine.hangs = True
    async with running(settings, lambda folder, settings: engine) as (task, channel):
        await until(channel, SERVING)
        signal.raise_signal(signal.SIGTERM)
        await task
    assert log.lines("stopped")


def refuse_to_load(folder: Path, settings: Settings) -> FakeEngine:
    raise BundleError(f"{folder} is not a bundle")


async def test_a_failed_start_frees_the_address(settings: Settings) -> None:
    free = Settings(model=settings.model, listen=Address("127.0.0.1", free_port()))
    for _ in range(2):
        with pytest.raises(BundleError):
            await Application(free, load_engine=refuse_to_load).run()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def test_a_taken_port_is_known_before_the_model_is_loaded(settings: Settings) -> None:
    def never(folder: Path, settings: Settings) -> FakeEngine:
        raise AssertionError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(PortInUse):
            await Application(Settings(model=settings.model, listen=listen), load_engine=never).run()


async def test_a_wrong_policies_file_is_known_first(settings: Settings, policies: Path) -> None:
    policies.write_text("policy_sets: 7")
    with pytest.raises(PolicyFileError, match=str(policies)):
        await Application(settings, load_engine=refuse_to_load).run()


def test_what_a_person_can_put_right_is_a_message_and_no_traceback(settings: Settings, log: Log) -> None:
    missing = Settings(model=settings.model, policies=Path("missing.yaml"), listen=settings.listen)
    with pytest.raises(CommandError, match=r"missing\.yaml"):
        app.serve(missing)
