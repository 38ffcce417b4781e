"""The stages that the engine tells of, whatever becomes of a request."""

import asyncio

import pytest

from archroute_server.engine.errors import ModelFailed, QueueFull
from archroute_server.engine.limits import Limits
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.message import Message, Role
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from archroute_server.telemetry.stages import StageRun, observing
from support.engine_calls import POLICIES, user, wait_for_queue
from support.gated_model import GatedModel
from support.numpy_model import NumpyModel

EVERY_STAGE = ["admission", "tokenize", "queue", "prefix_cache", "forward", "settle", "decide"]


def names(runs: list[StageRun]) -> list[str]:
    return [run.stage.value for run in runs]


def facts(runs: list[StageRun], stage: str) -> dict[str, int]:
    (run,) = [run for run in runs if run.stage.value == stage]
    return dict(run.facts)


async def watched(engine, text: str, runs: list[StageRun], **options):
    with observing(runs.append):
        return await engine.decide(POLICIES, user(text), **options)


async def test_a_decision_goes_through_every_stage_one_after_the_other(open_engine) -> None:
    runs: list[StageRun] = []
    async with open_engine(NumpyModel(400)) as engine:
        answer = await watched(engine, "please review this", runs)
        again: list[StageRun] = []
        warm = await watched(engine, "please review this", again)
    assert names(runs) == names(again) == EVERY_STAGE
    assert not any(run.error for run in runs)
    times = [time for run in runs for time in (run.started, run.ended)]
    assert times == sorted(times)
    assert facts(runs, "tokenize") == {"tokens.prompt": answer.tokens.prompt}
    assert facts(runs, "prefix_cache") == {"tokens.cached": 0}
    assert facts(again, "prefix_cache") == {"tokens.cached": warm.tokens.cached}
    assert facts(runs, "forward")["forward_passes"] == answer.tokens.forward_passes
    assert facts(again, "forward")["tokens"] < facts(runs, "forward")["tokens"]
    assert facts(runs, "decide") == {"answers": 4}


async def test_a_recalled_decision_is_only_decided(open_engine) -> None:
    runs: list[StageRun] = []
    async with open_engine(NumpyModel(400), Limits(decision_cache_entries=8)) as engine:
        await engine.decide(POLICIES, user("please review this"))
        await watched(engine, "please review this", runs)
    assert names(runs) == ["decide"]


async def test_waiting_for_an_equal_request_is_the_queue(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, Limits(decision_cache_entries=8)) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("please review this")))
        await asyncio.to_thread(model.arrived.wait, 30)
        runs: list[StageRun] = []
        second = asyncio.create_task(watched(engine, "please review this", runs))
        while "tokenize" not in names(runs):
            await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, second)
    assert names(runs) == ["admission", "tokenize", "queue", "decide"]


async def test_requests_that_share_a_run_share_its_stages(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    limits = Limits(batch_requests=4)
    async with open_engine(model, limits) as engine:
        model.gate.set()
        await engine.decide(POLICIES, user("please write a program"))
        model.gate.clear()
        model.arrived.clear()
        blocking = asyncio.create_task(engine.decide(POLICIES, user("the one that runs")))
        await asyncio.to_thread(model.arrived.wait, 30)
        texts = ("translate that", "explain this")
        runs: list[list[StageRun]] = [[], []]
        waiting = [
            asyncio.create_task(watched(engine, text, of)) for text, of in zip(texts, runs, strict=True)
        ]
        await asyncio.to_thread(wait_for_queue, engine, 2)
        model.gate.set()
        await asyncio.gather(blocking, *waiting)
    for of in runs:
        assert names(of) == EVERY_STAGE
        assert facts(of, "forward")["requests"] == 2
    forward = EVERY_STAGE.index("forward")
    assert runs[0][forward] == runs[1][forward]


async def test_who_is_turned_away_stops_at_the_admission(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, Limits(queue_requests=1)) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        runs: list[StageRun] = []
        with pytest.raises(QueueFull):
            await watched(engine, "the second", runs)
        model.gate.set()
        await first
    assert [(run.stage.value, run.error) for run in runs] == [("admission", "QueueFull")]


async def test_a_request_that_cannot_be_decided_stops_at_the_tokenizer(open_engine) -> None:
    runs: list[StageRun] = []
    async with open_engine(NumpyModel(400)) as engine:
        with pytest.raises(InvalidRequest), observing(runs.append):
            await engine.decide(POLICIES, [Message(Role.SYSTEM, "be kind")])
    assert [(run.stage.value, run.error) for run in runs] == [
        ("admission", ""),
        ("tokenize", "InvalidRequest"),
    ]


async def test_a_request_that_is_cancelled_in_the_queue_says_so(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    runs: list[StageRun] = []
    async with open_engine(model) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        second = asyncio.create_task(watched(engine, "the second", runs))
        await asyncio.to_thread(wait_for_queue, engine, 1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert [(run.stage.value, run.error) for run in runs][2:] == [("queue", "CancelledError")]
        model.gate.set()
        await first


async def test_a_model_that_fails_is_seen_in_the_forward_pass(open_engine) -> None:
    class Failing(NumpyModel):
        def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
            raise RuntimeError("the text of a conversation")

    runs: list[StageRun] = []
    async with open_engine(Failing(400)) as engine:
        with pytest.raises(ModelFailed):
            await watched(engine, "please review this", runs)
    assert names(runs) == EVERY_STAGE[:5]
    assert runs[-1].error == "ModelFailed"
    assert "the text" not in repr(runs)
