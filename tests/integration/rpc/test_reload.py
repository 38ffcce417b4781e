"""SIGHUP to a running server: which bundle decides, before, meanwhile and after."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.app import Application
from archroute_server.bundle.bundle import read_manifest
from archroute_server.config import Settings
from archroute_server.engine.identity import Identity
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.lifecycle.signals import RELOAD_SIGNAL
from archroute_server.rpc.address import Address
from support.fake_engine import FakeEngine
from support.manifests import turn, write_bundle
from support.rpc_calls import Log, ask
from support.scrape import Scrape, scrape

POLICIES = """
policy_sets:
  - name: coding
    policies:
      - {name: code, description: Writing code.}
"""


@dataclass
class Bundles:
    """Engines by the bundle that they were loaded from, and what happens while one is loaded."""

    link: Path
    engines: dict[str, FakeEngine] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    loading: threading.Event = field(default_factory=threading.Event)
    self_test: Any = None

    def load(self, folder: Path, settings: Settings) -> FakeEngine:
        self.loading.set()
        assert self.gate.wait(60)
        engine = FakeEngine(Identity(read_manifest(folder)[1], "arch-router/model-card", "cpu"))
        engine.self_test = self.self_test
        self.engines[folder.name] = engine
        return engine


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    for name in ("one", "two"):
        write_bundle(tmp_path / name, name)
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "one")
    bundles = Bundles(link)
    bundles.gate.set()
    return bundles


@dataclass
class Running:
    stub: Any
    channel: grpc.aio.Channel
    metrics: str

    async def scrape(self) -> Scrape:
        return await asyncio.to_thread(scrape, self.metrics)

    async def health(self) -> int:
        status: int = (await HealthStub(self.channel).Check(health_pb2.HealthCheckRequest())).status
        return status


@pytest.fixture
async def running(bundles: Bundles, tmp_path: Path, log: Log) -> AsyncIterator[Running]:
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICIES)
    settings = Settings(
        model=bundles.link,
        policies=policies,
        listen=Address(unix_path=str(tmp_path / "socket")),
        metrics_listen=Address("127.0.0.1", 0),
    )
    async with serving(settings, bundles, log) as running:
        yield running


@asynccontextmanager
async def serving(settings: Settings, bundles: Bundles, log: Log) -> AsyncIterator[Running]:
    task = asyncio.create_task(Application(settings, load_engine=bundles.load).run())
    async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        async for response in watch:
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                break
        watch.cancel()
        (served,) = log.lines("serving metrics")
        yield Running(RouterServiceStub(channel), channel, f"http://{served['address']}{served['path']}")
        # A second signal to stop would end this process.
        if not log.lines("stopping"):
            signal.raise_signal(signal.SIGTERM)
        await task


async def logged(log: Log, event: str, times: int = 1) -> list[dict[str, Any]]:
    while len(log.lines(event)) < times:
        await asyncio.sleep(0)
    return log.lines(event)


async def test_answers_name_the_bundle_that_decided_them(
    running: Running, bundles: Bundles, log: Log
) -> None:
    hold = bundles.engines["one"].hold("under way")
    before = asyncio.ensure_future(running.stub.Route(ask("under way")))
    await hold.started.wait()
    turn(bundles.link, "two")
    signal.raise_signal(RELOAD_SIGNAL)
    (reloaded,) = await logged(log, "reloaded the bundle")
    after = await running.stub.Route(ask("hi"))
    hold.release.set()
    first, second = (read_manifest(bundles.link.with_name(name))[1] for name in ("one", "two"))
    assert (reloaded["before"], reloaded["bundle"]) == (first, second)
    assert after.revisions.bundle_digest == second
    # Decided by the engine that it began with, and so it says.
    assert (await before).revisions.bundle_digest == first
    while not bundles.engines["one"].closed.is_set():
        await asyncio.sleep(0)
    found = await running.scrape()
    assert found.by("archroute_bundle_reloads_total", "result") == {"done": 1}
    assert found.by("archroute_build_info", "bundle") == {second: 1}
    assert found.value("archroute_bundle_serving_since_timestamp_seconds") > 0


async def test_it_serves_while_another_bundle_is_loaded(running: Running, bundles: Bundles, log: Log) -> None:
    bundles.loading.clear()
    bundles.gate.clear()
    turn(bundles.link, "two")
    signal.raise_signal(RELOAD_SIGNAL)
    await asyncio.to_thread(bundles.loading.wait, 60)
    assert await running.health() == health_pb2.HealthCheckResponse.SERVING
    answer = await running.stub.Route(ask("hi"))
    assert answer.revisions.bundle_digest == read_manifest(bundles.link.with_name("one"))[1]
    bundles.gate.set()
    await logged(log, "reloaded the bundle")


async def test_a_bundle_that_is_refused_changes_nothing(running: Running, bundles: Bundles, log: Log) -> None:
    bundles.self_test = SelfTestFailed("prompt 2 of 6")
    turn(bundles.link, "two")
    signal.raise_signal(RELOAD_SIGNAL)
    (refused,) = await logged(log, "the bundle was not reloaded")
    assert refused["reason"] == "prompt 2 of 6"
    assert await running.health() == health_pb2.HealthCheckResponse.SERVING
    answer = await running.stub.Route(ask("hi"))
    assert answer.revisions.bundle_digest == read_manifest(bundles.link.with_name("one"))[1]
    found = await running.scrape()
    assert found.by("archroute_bundle_reloads_total", "result") == {"failed": 1}
    # And again, once it was put right.
    bundles.self_test = None
    signal.raise_signal(RELOAD_SIGNAL)
    await logged(log, "reloaded the bundle")


async def test_a_signal_for_nothing(running: Running, bundles: Bundles, log: Log) -> None:
    for times in (1, 2):
        signal.raise_signal(RELOAD_SIGNAL)
        await logged(log, "the bundle is unchanged", times)
    found = await running.scrape()
    assert found.by("archroute_bundle_reloads_total", "result") == {"unchanged": 2}


async def test_a_stop_does_not_wait_for_a_bundle(running: Running, bundles: Bundles, log: Log) -> None:
    bundles.loading.clear()
    bundles.gate.clear()
    turn(bundles.link, "two")
    signal.raise_signal(RELOAD_SIGNAL)
    await asyncio.to_thread(bundles.loading.wait, 60)
    signal.raise_signal(signal.SIGTERM)
    await logged(log, "stopped")
    bundles.gate.set()
    assert bundles.engines["one"].closed.is_set()
