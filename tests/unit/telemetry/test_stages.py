"""Telling an observer of the stages that it watches."""

import asyncio

import pytest

from archroute_server.telemetry.stages import Stage, StageRun, observed, observing, stage_observer, unobserved


def test_a_block_is_told_to_each_observer_with_its_facts() -> None:
    one: list[StageRun] = []
    other: list[StageRun] = []
    with observed(Stage.FORWARD, [one.append, other.append]) as facts:
        assert one == []
        facts["tokens"] = 7
    (run,) = one
    assert other == [run]
    assert (run.stage, run.facts, run.error) == (Stage.FORWARD, {"tokens": 7}, "")
    assert run.started <= run.ended


def test_a_block_that_raises_is_told_by_the_type_of_its_error_alone() -> None:
    runs: list[StageRun] = []
    with pytest.raises(ValueError, match="the text"), observed(Stage.TOKENIZE, [runs.append]):
        raise ValueError("the text of a conversation")
    (run,) = runs
    assert run.error == "ValueError"
    assert "text" not in repr(run)


async def test_each_task_has_an_observer_of_its_own() -> None:
    both_inside = asyncio.Barrier(2)

    async def watched() -> list[StageRun]:
        runs: list[StageRun] = []
        with observing(runs.append):
            await both_inside.wait()
            assert await asyncio.create_task(observer_inside()) == stage_observer()
            with observed(Stage.DECIDE, [stage_observer()]):
                pass
        return runs

    async def observer_inside() -> object:
        return stage_observer()

    assert [len(runs) for runs in await asyncio.gather(watched(), watched())] == [1, 1]
    assert stage_observer() is unobserved
