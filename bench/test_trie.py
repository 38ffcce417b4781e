"""Building the trie of a policy set, and laying out its branches."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from archroute_server.bundle.bundle import Bundle
from archroute_server.engine.layout import lay_out
from archroute_server.router.answer import answer_trie
from archroute_server.router.encoder import PromptEncoder
from workload import policies


@pytest.mark.parametrize("count", [10, 100, 500])
def test_build(benchmark: BenchmarkFixture, encoder: PromptEncoder, bundle: Bundle, count: int) -> None:
    chosen = policies(count)
    end_of_turn = bundle.manifest.prompt.end_of_turn
    layout = benchmark(lambda: lay_out(answer_trie(chosen, encoder.variant, encoder.tokenizer, end_of_turn)))
    benchmark.extra_info["tree_tokens"] = len(layout.token_ids)
    assert len(layout.trie.answers) == count + 1
