"""Whom the engine turns away, and what runs out of time, over a model that waits at a gate."""

import asyncio
import time
from dataclasses import replace

import pytest

from archroute_server.engine.answer import FallbackReason
from archroute_server.engine.errors import DeadlineExceeded, DeadlineUnreachable, QueueFull
from archroute_server.engine.limits import Limits
from archroute_server.engine.time_limit import TimeLimit
from archroute_server.router.decision import Outcome
from archroute_server.router.message import Message, Role
from support.engine_calls import POLICIES, user, wait_for_queue
from support.gated_model import GatedModel
from support.numpy_model import NumpyModel

FULL = Limits(queue_requests=1, decision_cache_entries=10)


def soon() -> float:
    """Return an instant that passes while the gate is closed."""
    return time.monotonic() + 0.05


async def test_one_too_many_is_refused_before_it_costs_anything(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, FULL) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        with pytest.raises(QueueFull):
            await engine.decide(POLICIES, user("the second"))
        model.gate.set()
        await first
        assert (await engine.decide(POLICIES, user("the second"))).tokens.forward_passes == 1
        statistics = engine.admission_statistics
    assert (statistics.admitted, statistics.refused_by_requests) == (2, 1)
    assert (statistics.requests, statistics.tokens) == (0, 0)
    assert len(model.forwards) == 2


async def test_what_was_decided_before_is_answered_though_the_queue_is_full(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    model.gate.set()
    async with open_engine(model, FULL) as engine:
        known = await engine.decide(POLICIES, user("asked before"))
        model.gate.clear()
        model.arrived.clear()
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        again = await engine.decide(POLICIES, user("asked before"))
        with pytest.raises(QueueFull):
            await engine.decide(POLICIES, [Message(Role.ASSISTANT, "asked before"), *user("asked before")])
        model.gate.set()
        await first
    assert again.from_decision_cache
    assert again.decision == known.decision
    assert again.tokens == replace(known.tokens, cached=0, forward_passes=0, forced=0)


async def test_too_many_tokens_are_refused(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, Limits(queue_tokens=1)) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        with pytest.raises(QueueFull, match="tokens"):
            await engine.decide(POLICIES, user("the second"))
        model.gate.set()
        await first
        assert engine.admission_statistics.refused_by_tokens == 1
        assert engine.admission_statistics.tokens == 0


async def test_the_pace_is_that_of_the_model(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    model.gate.set()
    async with open_engine(model) as engine:
        await engine.decide(POLICIES, user("measured"))
        model.gate.clear()
        model.arrived.clear()
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        past = time.monotonic()
        with pytest.raises(DeadlineUnreachable):
            await engine.decide(POLICIES, user("late"), limit=TimeLimit(deadline=past))
        late = await engine.decide(POLICIES, user("late"), limit=TimeLimit(decide_by=past))
        model.gate.set()
        await first
    assert late.fallback_reason is FallbackReason.DECIDE_BY_UNREACHABLE
    assert late.tokens.prompt == 0
    assert len(model.forwards) == 2


async def test_a_deadline_that_passes_takes_the_request_out_of_the_queue(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        with pytest.raises(DeadlineExceeded):
            await engine.decide(POLICIES, user("the second"), limit=TimeLimit(deadline=soon()))
        assert engine.admission_statistics.requests == 1
        model.gate.set()
        await first
        statistics = engine.batch_statistics
    assert (statistics.waiting, statistics.cancelled, statistics.expired) == (0, 0, 1)
    assert len(model.forwards) == 1


@pytest.mark.parametrize("default", [None, "code_generation"])
async def test_a_budget_that_runs_out_gives_the_default_policy(open_engine, default: str | None) -> None:
    policies = replace(POLICIES, default_policy=default)
    model = GatedModel(NumpyModel(400))
    async with open_engine(model) as engine:
        limit = TimeLimit(deadline=time.monotonic() + 600, decide_by=soon())
        answer = await engine.decide(policies, user("please review this"), limit=limit)
        model.gate.set()
        assert (await engine.decide(policies, user("please review this"))).fallback_reason is None
    assert (answer.decision.outcome, answer.decision.policy) == (Outcome.FALLBACK, default)
    assert answer.decision.models == (("large", "small") if default else ())
    assert (answer.decision.probability, answer.decision.ranking) == (0, ())
    assert answer.fallback_reason is FallbackReason.DECIDE_BY_PASSED
    assert not answer.from_decision_cache
    assert answer.tokens.prompt > 0
    assert answer.tokens.forward_passes == 0
    assert answer.timings.tokenize > 0
    assert answer.timings.queue > 0


async def test_a_cancelled_request_gives_its_place_back(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, Limits(queue_requests=2)) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        queued = asyncio.create_task(engine.decide(POLICIES, user("the second")))
        await asyncio.to_thread(wait_for_queue, engine, 1)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        third = asyncio.create_task(engine.decide(POLICIES, user("the third")))
        await asyncio.to_thread(wait_for_queue, engine, 1)
        model.gate.set()
        await asyncio.gather(first, third)
        assert engine.batch_statistics.cancelled == 1
        assert engine.admission_statistics.requests == 0
    assert len(model.forwards) == 2
