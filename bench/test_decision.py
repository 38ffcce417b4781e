"""One decision of the embedded model, from messages to a ranking, without the network."""

import asyncio
import itertools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from archroute_server.engine.answer import Answer
from archroute_server.engine.engine import Engine
from archroute_server.router.message import Message
from workload import conversation, policies

WARM_UP = 3


@pytest.mark.parametrize("turns", [1, 4, 12])
@pytest.mark.parametrize("count", [10, 50])
def test_decide(
    benchmark: BenchmarkFixture,
    engine: Engine,
    event_loop_runner: asyncio.Runner,
    dialogues: list[list[Message]],
    count: int,
    turns: int,
) -> None:
    """Conversations not seen before, on policies that the prefix cache knows."""
    chosen = policies(count)
    source = itertools.cycle(dialogues)

    def decide() -> Answer:
        return event_loop_runner.run(engine.decide(chosen, conversation(next(source), turns)))

    answer = benchmark.pedantic(decide, rounds=15, warmup_rounds=WARM_UP)
    benchmark.extra_info["prompt_tokens"] = answer.tokens.prompt
    benchmark.extra_info["cached_tokens"] = answer.tokens.cached
    assert answer.tokens.forward_passes == 1
    assert answer.tokens.cached > 0
    assert len(answer.decision.ranking) == count + 1
