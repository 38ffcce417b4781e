"""A model that raises, gives no numbers, or does not come back."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from archroute_server.engine.errors import EngineClosed, ModelFailed, ModelOutputInvalid, ModelStalled
from archroute_server.engine.limits import Limits
from archroute_server.engine.watched_model import WatchedModel
from archroute_server.router.encoder import PromptEncoder
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.host_cache import HostCache
from archroute_server.runtime.kv_cache import KeyValueCache
from support.engine_calls import POLICIES, user, wait_for_queue
from support.faulty_model import FaultyModel
from support.numpy_model import NumpyModel

LONG = "please review this function, which sorts a list of names and drops those that come twice"
# Any pass that was seen to run has run for longer than this.
AT_ONCE = Limits(forward_timeout=1e-9)


@pytest.fixture
def model() -> Iterator[FaultyModel]:
    model = FaultyModel(NumpyModel(400))
    yield model
    model.release.set()


async def test_one_failure_is_one_requests_and_no_others(model: FaultyModel, open_engine: Any) -> None:
    async with open_engine(model) as engine:
        model.raises = True
        with pytest.raises(ModelFailed) as failed:
            await engine.decide(POLICIES, user("a"))
        assert "secret" not in str(failed.value)
        model.raises = False
        assert (await engine.decide(POLICIES, user("a"))).decision.ranking
        vitals = engine.vitals
    assert (vitals.failed_runs, vitals.failures_in_a_row, vitals.stalled) == (1, 0, False)


async def test_failures_in_a_row_are_counted_until_one_run_succeeds(
    model: FaultyModel, open_engine: Any
) -> None:
    async with open_engine(model) as engine:
        model.raises = True
        for number in range(1, 4):
            with pytest.raises(ModelFailed):
                await engine.decide(POLICIES, user(str(number)))
            assert engine.vitals.failures_in_a_row == number
        model.raises = False
        await engine.probe()
        assert (engine.vitals.failures_in_a_row, engine.vitals.failed_runs) == (0, 3)


async def test_what_is_no_number_is_never_decided_nor_kept(model: FaultyModel, open_engine: Any) -> None:
    async with open_engine(model) as engine, open_engine(NumpyModel(400)) as sound:
        await engine.decide(POLICIES, user(LONG))
        assert engine.prefix_statistics.nodes > 0
        model.not_a_number = True
        with pytest.raises(ModelOutputInvalid):
            await engine.decide(POLICIES, user(LONG + " in Python"))
        # What was cached is all that may have been wrong with it for good.
        assert engine.prefix_statistics.nodes == engine.prefix_statistics.held_bytes == 0
        model.not_a_number = False
        answer = await engine.decide(POLICIES, user(LONG))
        assert answer.tokens.cached == 0
        expected = await sound.decide(POLICIES, user(LONG))
        assert answer.decision == expected.decision


async def test_no_numbers_for_one_of_a_batch_fail_that_one(open_engine: Any, encoder: PromptEncoder) -> None:
    # The tokens that stand for the text in a prompt.
    allergen = set(encoder.encode(POLICIES, user("Ж")).token_ids) - set(
        encoder.encode(POLICIES, user("0 one two")).token_ids
    )
    assert allergen
    started, gate = threading.Event(), threading.Event()

    class Allergic(NumpyModel):
        """Gives no numbers where it reads one text; waits at its first pass."""

        def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
            if not self.forwards:
                started.set()
                assert gate.wait(60)
            logits, cache = super().run(forward, past)
            spoilt = not allergen.isdisjoint(forward.token_ids.tolist())
            return (logits * float("nan") if spoilt else logits), cache

    async with open_engine(Allergic(400), Limits(batch_requests=8)) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("0")))
        await asyncio.to_thread(started.wait, 60)
        tasks = [asyncio.create_task(engine.decide(POLICIES, user(text))) for text in ("one", "Ж", "two")]
        await asyncio.to_thread(wait_for_queue, engine, 3)
        gate.set()
        results = await asyncio.gather(first, *tasks, return_exceptions=True)
        vitals = engine.vitals
    kinds = [type(result).__name__ for result in results]
    assert kinds == ["Answer", "Answer", "ModelOutputInvalid", "Answer"]
    assert vitals.failures_in_a_row == 0
    # The batch of three, and then the one of it.
    assert vitals.failed_runs == 2


async def test_a_pass_that_does_not_end_holds_nobody(model: FaultyModel, open_engine: Any) -> None:
    async with open_engine(model, AT_ONCE) as engine:
        model.hangs = True
        running = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.hanging.wait)
        assert engine.vitals.stalled
        assert engine.vitals.forward_seconds > 0
        # Nobody gets in line behind it any more.
        with pytest.raises(ModelStalled):
            await engine.decide(POLICIES, user("too late"))
        assert engine.abandon() == 1
        with pytest.raises(ModelStalled):
            await running
        assert engine.abandon() == 0
        model.hangs = False
        model.release.set()
        while engine.vitals.forward_seconds:
            await asyncio.sleep(0)
        assert (await engine.decide(POLICIES, user("again"))).decision.ranking


async def test_those_who_wait_are_told_as_well(model: FaultyModel, open_engine: Any) -> None:
    async with open_engine(model) as engine:
        model.hangs = True
        tasks = [asyncio.create_task(engine.decide(POLICIES, user("the first")))]
        await asyncio.to_thread(model.hanging.wait)
        tasks += [asyncio.create_task(engine.decide(POLICIES, user(text))) for text in ("b", "c")]
        await asyncio.to_thread(wait_for_queue, engine, 2)
        assert engine.abandon() == 3
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ModelStalled] * 3
        assert engine.admission_statistics.requests == engine.admission_statistics.tokens == 0
        model.release.set()


async def test_closing_has_only_so_much_patience(model: FaultyModel, open_engine: Any) -> None:
    async with open_engine(model) as engine:
        model.hangs = True
        running = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.hanging.wait)
        assert await engine.close(grace=0, patience=0.001) is False
        with pytest.raises(EngineClosed):
            await running
        model.release.set()
        assert await engine.close(grace=0) is True


def test_the_time_of_a_pass_is_that_of_the_pass_alone(model: FaultyModel) -> None:
    now = 100.0
    watched = WatchedModel(model, lambda: now)
    assert watched.running_seconds == 0
    model.hangs = True
    forward = Forward(*[None] * 5)  # type: ignore[arg-type]
    model.raises = True

    def run() -> None:
        with pytest.raises(ModelFailed):
            watched.run(forward, HostCache(()))

    thread = threading.Thread(target=run)
    thread.start()
    assert model.hanging.wait(60)
    now = 107.5
    assert watched.running_seconds == 7.5
    model.release.set()
    thread.join(60)
    assert watched.running_seconds == 0
