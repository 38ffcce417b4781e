"""A server whose model raises, gives no numbers, or hangs: what callers, balancers and metrics see."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server import app
from archroute_server.app import Application
from archroute_server.config import Settings
from archroute_server.engine.engine import Engine
from archroute_server.engine.limits import Limits
from archroute_server.lifecycle import supervisor
from archroute_server.rpc.address import Address
from support.engine_calls import IDENTITY
from support.faulty_model import FaultyModel
from support.numpy_model import NumpyModel
from support.rpc_calls import Log, ask, refusal
from support.scrape import Scrape, scrape
from support.tiny_encoder import special_token, tiny_encoder

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
FAILURES = 3
POLICIES = """
policy_sets:
  - name: coding
    policies:
      - {name: code, description: Writing code.}
      - {name: review, description: Reading code.}
"""


@dataclass
class Faulty:
    """A server, and the model whose faults are the test's."""

    model: FaultyModel
    stub: Any
    channel: grpc.aio.Channel
    metrics: str
    task: asyncio.Task[None]

    async def scrape(self) -> Scrape:
        return await asyncio.to_thread(scrape, self.metrics)

    async def health(self) -> int:
        status: int = (await HealthStub(self.channel).Check(health_pb2.HealthCheckRequest())).status
        return status

    async def until(self, wanted: int) -> None:
        watch = HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        async for response in watch:
            if response.status == wanted:
                break
        watch.cancel()


@pytest.fixture
async def faulty(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Faulty]:
    """A server whose forward passes may take `request.param` seconds, an hour unless given."""
    # Nothing waits for these: they only pass more quickly.
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(supervisor, "PROBE_SECONDS", 0.001)
    monkeypatch.setattr(app, "LAST_PASS_SECONDS", 0.001)
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICIES)
    settings = Settings(
        model=tmp_path,
        policies=policies,
        listen=Address(unix_path=str(tmp_path / "socket")),
        metrics_listen=Address("127.0.0.1", 0),
        unhealthy_after_failures=FAILURES,
        forward_timeout_seconds=getattr(request, "param", 3600.0),
    )
    model = FaultyModel(NumpyModel(400))

    def load(folder: Path, settings: Settings) -> Engine:
        encoder = tiny_encoder()
        end_of_turn = special_token(encoder.tokenizer, "<|im_end|>")
        limits = Limits(forward_timeout=settings.forward_timeout_seconds)
        return Engine(model, encoder, end_of_turn, IDENTITY, limits)

    task = asyncio.create_task(Application(settings, load_engine=load).run())
    async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
        running = Faulty(model, RouterServiceStub(channel), channel, "", task)
        await running.until(SERVING)
        (served,) = log.lines("serving metrics")
        running.metrics = f"http://{served['address']}{served['path']}"
        yield running
        # A second signal to stop would end this process.
        if not (task.done() or log.lines("stopping")):
            signal.raise_signal(signal.SIGTERM)
            await task
    model.release.set()


async def test_one_failure_is_one_requests(faulty: Faulty, log: Log) -> None:
    faulty.model.raises = True
    failed = await refusal(faulty.stub.Route(ask("hi")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "MODEL_FAILED")
    (line,) = log.lines("internal error")
    assert line["error_id"] in failed.message
    assert [link["type"].rsplit(".")[-1] for link in line["exception"]] == ["ModelFailed", "RuntimeError"]
    assert "secret" not in failed.message + log.text()
    faulty.model.raises = False
    assert (await faulty.stub.Route(ask("hi"))).probability > 0
    assert await faulty.health() == SERVING
    found = await faulty.scrape()
    assert found.by("archroute_answers_total", "decided_by") == {"model": 1, "error": 1}
    assert found.value("archroute_failed_runs_total") == 1
    assert found.value("archroute_model_failures_in_a_row") == 0


async def test_no_numbers_are_no_decision(faulty: Faulty) -> None:
    faulty.model.not_a_number = True
    failed = await refusal(faulty.stub.Route(ask("hi")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "MODEL_OUTPUT_INVALID")
    faulty.model.not_a_number = False
    assert (await faulty.stub.Route(ask("hi"))).probability > 0


@pytest.mark.parametrize("fault", ["raises", "not_a_number"])
async def test_a_model_that_fails_for_good_is_not_serving_until_it_is_mended(
    faulty: Faulty, log: Log, fault: str
) -> None:
    setattr(faulty.model, fault, True)
    for _ in range(FAILURES):
        await refusal(faulty.stub.Route(ask("hi")))
    await faulty.until(NOT_SERVING)
    assert (await faulty.scrape()).value("archroute_ready") == 0
    # Whoever calls all the same is answered, not turned away.
    failed = await refusal(faulty.stub.Route(ask("hi")))
    assert failed.code is grpc.StatusCode.INTERNAL
    while len(log.lines("a probe of the model failed")) < 2:
        await asyncio.sleep(0)
    # Nobody but the server's own probe asks it anything now.
    setattr(faulty.model, fault, False)
    await faulty.until(SERVING)
    assert (await faulty.stub.Route(ask("hi"))).probability > 0
    assert [line["event"] for line in log.lines() if "serving" in line["event"]] == [
        "serving metrics",
        "not serving: the model fails",
        "serving again",
    ]


async def test_a_request_of_a_stream_fails_by_itself(faulty: Faulty) -> None:
    faulty.model.raises = True
    requests = [router_pb2.RouteStreamRequest(request_id="a", request=ask("hi"))]
    stream = faulty.stub.RouteStream(iter(requests))
    (answer,) = [answer async for answer in stream]
    assert (answer.error.code, answer.error.reason) == (13, "MODEL_FAILED")


# So short that every pass is too long for it, if it is looked at while it runs.
@pytest.mark.parametrize("faulty", [1e-6], indirect=True)
async def test_a_pass_that_never_ends_ends_the_server(faulty: Faulty, log: Log) -> None:
    faulty.model.hangs = True
    failed = await refusal(faulty.stub.Route(ask("hi")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_STALLED")
    with pytest.raises(supervisor.ModelHangs, match="cannot be ended"):
        await faulty.task
    assert log.lines("not serving: a forward pass hangs")


@pytest.mark.parametrize("faulty", [1e9], indirect=True)
async def test_a_pass_that_ends_late_is_forgiven(
    faulty: Faulty, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.model.hangs = True
    call = asyncio.ensure_future(faulty.stub.Route(ask("hi")))
    await asyncio.to_thread(faulty.model.hanging.wait)
    # As if the hour was over.
    monkeypatch.setattr(Limits, "forward_timeout", property(lambda limits: 1e-6))
    await faulty.until(NOT_SERVING)
    failed = await refusal(call)
    assert failed.reason == "MODEL_STALLED"
    failed = await refusal(faulty.stub.Route(ask("another")))
    assert failed.reason == "MODEL_STALLED"
    assert (await faulty.scrape()).value("archroute_model_stalled") == 1
    faulty.model.hangs = False
    faulty.model.release.set()
    monkeypatch.undo()
    await faulty.until(SERVING)
    assert (await faulty.stub.Route(ask("hi"))).probability > 0


async def test_a_stop_does_not_wait_for_a_pass_that_hangs(faulty: Faulty, log: Log) -> None:
    faulty.model.hangs = True
    # With a deadline, so that the drain has an end before it.
    call = faulty.stub.Route(ask("hi"), timeout=0.5)
    await asyncio.to_thread(faulty.model.hanging.wait)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await faulty.task
    assert log.lines("stopped")
