"""Rendering and tokenizing a prompt."""

import itertools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from workload import conversation, policies


@pytest.mark.parametrize("turns", [1, 4, 12])
@pytest.mark.parametrize("count", [10, 50])
def test_encode(
    benchmark: BenchmarkFixture,
    encoder: PromptEncoder,
    dialogues: list[list[Message]],
    count: int,
    turns: int,
) -> None:
    chosen = policies(count)
    source = itertools.cycle(dialogues)
    prompt = benchmark(lambda: encoder.encode(chosen, conversation(next(source), turns)))
    benchmark.extra_info["tokens"] = len(prompt.token_ids)
    assert prompt.dropped_messages == max(0, 2 * turns - 1 - 16)


def test_encode_a_megabyte(benchmark: BenchmarkFixture, encoder: PromptEncoder) -> None:
    text = "the quick brown fox jumps over the lazy dog. " * 23_000
    prompt = benchmark.pedantic(
        lambda: encoder.encode(policies(10), [Message(Role.USER, text)]), rounds=3, warmup_rounds=1
    )
    assert len(prompt.token_ids) <= encoder.budget
