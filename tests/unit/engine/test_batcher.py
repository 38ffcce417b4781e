"""Whom a step takes, counted in forward passes of a NumPy model."""

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.engine.batcher import Batcher
from archroute_server.engine.errors import EngineClosed, ModelFailed
from archroute_server.engine.layout import BranchLayout, lay_out
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.engine.packed_row import Question
from archroute_server.engine.request import Request, Settled
from archroute_server.engine.request_queue import RequestQueue
from archroute_server.router.trie import AnswerTrie
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from support.gated_model import GatedModel
from support.numpy_model import NumpyModel

VOCABULARY = 200
PATIENCE = 30
PACKING = Limits(batch_requests=16)


def layout_of(*answers: Sequence[int]) -> BranchLayout:
    return lay_out(AnswerTrie([f"a{index}" for index in range(len(answers))], answers))


LAYOUT = layout_of((1, 2, 0), (1, 3, 4, 0), (1, 3, 5, 0))
BRANCH_TOKENS = 2  # the forced 1, and the 3 before the second branch
POLICIES = list(range(20, 60))
OTHER_POLICIES = list(range(70, 110))


@contextmanager
def opened(model: Model, limits: Limits) -> Iterator[Batcher]:
    batcher = Batcher(model, limits)
    try:
        yield batcher
    finally:
        batcher.close()


def ask(batcher: Batcher, prompt: list[int], layout: BranchLayout = LAYOUT) -> Future[Settled]:
    return batcher.submit(Question(prompt, layout), len(prompt))


@contextmanager
def queue_held(model: GatedModel, batcher: Batcher) -> Iterator[None]:
    """Let the block fill the queue while an unrelated request runs; then forget that one's pass."""
    model.gate.clear()
    model.arrived.clear()
    running = ask(batcher, [150, 151])
    assert model.arrived.wait(PATIENCE)
    before = len(model.forwards)
    yield
    model.gate.set()
    running.result(PATIENCE)
    del model.forwards[before : before + 1]


def settle(futures: Sequence[Future[Settled]]) -> list[Settled]:
    return [future.result(PATIENCE) for future in futures]


def decide_queued(
    prompts: Sequence[list[int]],
    limits: Limits = PACKING,
    known: Sequence[list[int]] = (POLICIES,),
    layout: BranchLayout = LAYOUT,
    model: Model | None = None,
) -> tuple[list[list[int]], list[Settled]]:
    """Put the prompts in the queue together, once `known` are cached; return the tokens of each pass."""
    gated = GatedModel(model or NumpyModel(VOCABULARY))
    with opened(gated, limits) as batcher:
        gated.gate.set()
        for prompt in known:
            ask(batcher, [*prompt, 199]).result(PATIENCE)
        gated.forwards.clear()
        with queue_held(gated, batcher):
            futures = [ask(batcher, prompt, layout) for prompt in prompts]
        results = settle(futures)
    return [forward.token_ids.tolist() for forward in gated.forwards], results


FIRST, SECOND, THIRD = ([*POLICIES, *rest] for rest in ([2, 3, 4], [5, 6], [7, 8, 9, 10]))


def test_those_with_the_same_cached_beginning_share_a_pass() -> None:
    passes, results = decide_queued([FIRST, SECOND, THIRD])
    assert passes == [[2, 3, 4, 1, 3, 5, 6, 1, 3, 7, 8, 9, 10, 1, 3]]
    assert [result.cached for result in results] == [len(POLICIES)] * 3
    assert [result.forward_passes for result in results] == [1, 1, 1]


def test_the_others_take_the_next_pass_in_their_order() -> None:
    other = [*OTHER_POLICIES, 2]
    passes, _ = decide_queued([FIRST, other, SECOND, [*OTHER_POLICIES, 9]], known=(POLICIES, OTHER_POLICIES))
    assert passes == [[2, 3, 4, 1, 3, 5, 6, 1, 3], [2, 1, 3, 9, 1, 3]]


def test_one_that_has_more_in_the_cache_is_not_made_to_read_it_again() -> None:
    turn = list(range(120, 140))
    passes, results = decide_queued([FIRST, [*POLICIES, *turn, 9], SECOND], known=([*POLICIES, *turn],))
    assert passes == [[2, 3, 4, 1, 3, 5, 6, 1, 3], [9, 1, 3]]
    assert [result.cached for result in results] == [40, 60, 40]


def test_those_who_would_read_the_same_wait_for_the_first_to_read_it() -> None:
    passes, results = decide_queued([FIRST, SECOND, THIRD], known=())
    assert [len(tokens) for tokens in passes] == [43 + BRANCH_TOKENS, 2 + 4 + 2 * BRANCH_TOKENS]
    assert [result.cached for result in results] == [0, 40, 40]


def test_without_a_prefix_cache_nobody_waits() -> None:
    passes, results = decide_queued([FIRST, SECOND], Limits(batch_requests=16, prefix_cache_bytes=0))
    assert [len(tokens) for tokens in passes] == [43 + 42 + 2 * BRANCH_TOKENS]
    assert [result.cached for result in results] == [0, 0]


def test_a_pass_takes_so_many_requests() -> None:
    passes, _ = decide_queued([FIRST, SECOND, THIRD], Limits(batch_requests=2))
    assert passes == [[2, 3, 4, 1, 3, 5, 6, 1, 3], [7, 8, 9, 10, 1, 3]]


def test_a_pass_takes_so_many_tokens() -> None:
    limits = Limits(batch_requests=16, batch_tokens=10)
    passes, _ = decide_queued([FIRST, THIRD, SECOND, [*POLICIES, 11]], limits)
    # Five tokens and six are too many, five and four are not, and then there is no room for three.
    assert passes == [[2, 3, 4, 1, 3, 5, 6, 1, 3], [7, 8, 9, 10, 1, 3, 11, 1, 3]]


def test_the_oldest_request_is_taken_whatever_its_size() -> None:
    passes, _ = decide_queued([FIRST, SECOND], Limits(batch_requests=16, batch_tokens=1))
    assert passes == [[2, 3, 4, 1, 3], [5, 6, 1, 3]]


@pytest.mark.parametrize("limits", [Limits(), Limits(batch_requests=1)])
def test_one_by_one_unless_told_otherwise(limits: Limits) -> None:
    passes, _ = decide_queued([FIRST, SECOND], limits)
    assert passes == [[2, 3, 4, 1, 3], [5, 6, 1, 3]]


def test_a_model_without_tree_attention_reads_one_sequence_at_a_time() -> None:
    passes, results = decide_queued([FIRST, SECOND], model=NumpyModel(VOCABULARY, tree_attention=False))
    assert [len(tokens) for tokens in passes][:1] == [3 + 1]
    assert len(passes) == sum(result.forward_passes for result in results) >= 2


def test_a_trie_over_the_tree_budget_is_not_packed() -> None:
    limits = Limits(batch_requests=16, tree_tokens=BRANCH_TOKENS - 1)
    passes, results = decide_queued([FIRST, SECOND], limits)
    assert len(passes) == sum(result.forward_passes for result in results) >= 2


def test_a_pass_is_padded_to_the_bucket() -> None:
    limits = Limits(batch_requests=16, shape_bucket=8)
    passes, results = decide_queued([FIRST, SECOND], limits)
    assert passes == [[2, 3, 4, 1, 3, 5, 6, 1, 3, *[0] * 7]]
    unpadded = decide_queued([FIRST, SECOND])[1]
    for padded, plain in zip(results, unpadded, strict=True):
        assert_same(padded, plain)


class CompanyQueue(RequestQueue):
    """Whoever waits for another request gets the next of `coming`, if there is one."""

    def __init__(self, coming: Sequence[list[int]]) -> None:
        super().__init__()
        self.coming = [Request(Question(prompt, LAYOUT), len(prompt)) for prompt in coming]
        self.came: list[Request] = []
        self.waits: list[float] = []

    def wait_for_another(self, oldest: Request, longest: float) -> bool:
        assert oldest in self.waiting()
        self.waits.append(longest)
        if not self.coming:
            return False
        self.came.append(self.coming.pop(0))
        self.put(self.came[-1])
        return True


def decide_in_company(
    first: list[int], coming: Sequence[list[int]], limits: Limits
) -> tuple[list[list[int]], CompanyQueue]:
    """Let a request come while nothing runs, and `coming` while it is waited for."""
    model, queue = NumpyModel(VOCABULARY), CompanyQueue(coming)
    batcher = Batcher(model, limits, queue)
    try:
        ask(batcher, first).result(PATIENCE)
        settle([request.future for request in queue.came])
    finally:
        batcher.close()
    return [forward.token_ids.tolist() for forward in model.forwards], queue


UNCACHED = Limits(batch_requests=3, prefix_cache_bytes=0)


def test_who_comes_while_it_is_waited_for_shares_the_pass() -> None:
    passes, queue = decide_in_company([2], [[3]], UNCACHED)
    assert passes == [[2, 1, 3, 3, 1, 3]]
    # Once more for a third, who did not come.
    assert queue.waits == [UNCACHED.batch_wait] * 2


def test_nobody_is_waited_for_once_the_pass_is_full() -> None:
    passes, queue = decide_in_company([2], [[3], [4], [5]], UNCACHED)
    assert passes == [[2, 1, 3, 3, 1, 3, 4, 1, 3]]
    assert len(queue.waits) == 2
    passes, queue = decide_in_company([2], [[3], [4]], replace(UNCACHED, batch_tokens=6))
    assert passes == [[2, 1, 3, 3, 1, 3]]
    assert len(queue.waits) == 1


def test_nobody_is_waited_for_if_somebody_is_left_behind() -> None:
    passes, queue = decide_in_company([2], [[3] * 20], replace(UNCACHED, batch_tokens=10))
    assert passes == [[2, 1, 3], [*[3] * 20, 1, 3]]
    assert len(queue.waits) == 1


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(batch_requests=1), Limits(batch_requests=8, tree_tokens=1)]
)
def test_nobody_is_waited_for_where_nobody_can_share(limits: Limits) -> None:
    _, queue = decide_in_company([2], [[3]], limits)
    assert queue.waits == []


def test_the_cancelled_are_passed_over() -> None:
    gated = GatedModel(NumpyModel(VOCABULARY))
    with opened(gated, PACKING) as batcher:
        with queue_held(gated, batcher):
            first, second, third = (ask(batcher, prompt) for prompt in ([2, 3], [4, 5], [6, 7]))
            assert first.cancel()
            assert second.cancel()
        third.result(PATIENCE)
        assert batcher.statistics.requests == 2
        assert batcher.statistics.waiting == 0
        assert (
            batcher.statistics.tokens
            == sum(len(forward.token_ids) for forward in gated.forwards) + 2 + BRANCH_TOKENS
        )
    assert [forward.token_ids.tolist() for forward in gated.forwards] == [[6, 7, 1, 3]]
    with pytest.raises(CancelledError):
        first.result()


def test_what_was_packed_is_found_in_the_prefix_cache() -> None:
    turns = [list(range(start, start + 20)) for start in (110, 130)]
    gated = GatedModel(NumpyModel(VOCABULARY))
    with opened(gated, PACKING) as batcher:
        gated.gate.set()
        ask(batcher, [*POLICIES, 199]).result(PATIENCE)
        with queue_held(gated, batcher):
            futures = [ask(batcher, [*POLICIES, *turn]) for turn in turns]
        settle(futures)
        assert (batcher.statistics.batches, batcher.statistics.requests) == (3, 4)
        assert batcher.statistics.forward_passes == len(gated.forwards) + 1
        again = settle([ask(batcher, [*POLICIES, *turn, 9]) for turn in turns])
        statistics = batcher.prefix_statistics
    assert [result.cached for result in again] == [60, 60]
    for turn, result in zip(turns, again, strict=True):
        (alone,) = decide_queued([[*POLICIES, *turn, 9]], known=())[1]
        assert_same(result, alone)
    # The two policies' readers, those packed, and those again; the unrelated request hit nothing.
    assert statistics.tokens_hit == 0 + 0 + 2 * 40 + 2 * 60
    assert statistics.tokens_missed == 41 + 2 + 2 * 20 + 2 * 1


class FailsTogether(NumpyModel):
    """Has no memory for two blocks, and an aversion to one token."""

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        if len(forward.token_ids) > 6 or 7 in forward.token_ids:
            raise RuntimeError("out of memory")
        return super().run(forward, past)


def test_a_batch_that_fails_is_decided_one_by_one() -> None:
    gated = GatedModel(FailsTogether(VOCABULARY))
    with opened(gated, Limits(batch_requests=16, prefix_cache_bytes=0)) as batcher:
        with queue_held(gated, batcher):
            first, second, third = (ask(batcher, prompt) for prompt in ([2, 3], [7, 8], [5, 6]))
        assert [first.result(PATIENCE).forward_passes, third.result(PATIENCE).forward_passes] == [1, 1]
        with pytest.raises(ModelFailed):
            second.result(PATIENCE)
        assert (batcher.statistics.failed_batches, batcher.statistics.requests) == (1, 3)


def test_closing_tells_those_who_wait_and_finishes_what_runs() -> None:
    gated = GatedModel(NumpyModel(VOCABULARY))
    with opened(gated, PACKING) as batcher:
        with queue_held(gated, batcher):
            waiting, cancelled = ask(batcher, [2]), ask(batcher, [3])
            cancelled.cancel()
            batcher._queue.close()
            with pytest.raises(EngineClosed):
                waiting.result(PATIENCE)
        batcher.close()
        with pytest.raises(EngineClosed):
            ask(batcher, [2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Batcher) -> None:
        raise SystemError("a defect")

    monkeypatch.setattr(Batcher, "_schedule", fail)
    with opened(NumpyModel(VOCABULARY), PACKING) as batcher:
        with pytest.raises(EngineClosed):
            ask(batcher, [2]).result(PATIENCE)
        with pytest.raises(EngineClosed):
            ask(batcher, [2])


TRIES = (LAYOUT, layout_of((1, 0), (2, 0)), layout_of((9, 8, 0), (9, 7, 1, 0), (9, 7, 2, 0), (3, 0)))
PIECES = (POLICIES, POLICIES[:20], POLICIES[:30], OTHER_POLICIES, list(range(120, 137)), [7], [8, 9])
prompts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(
    lambda pieces: [token for piece in pieces for token in piece]
)


@settings(max_examples=40)
@given(
    asked=st.lists(st.tuples(prompts, st.sampled_from(TRIES)), min_size=2, max_size=10),
    limits=st.builds(
        Limits,
        batch_requests=st.integers(2, 6),
        batch_tokens=st.sampled_from([20, 200, 2000]),
        shape_bucket=st.sampled_from([1, 8]),
        prefix_cache_bytes=st.sampled_from([0, 20_000, 1 << 24]),
    ),
    seed=st.integers(0, 2**16),
)
def test_whatever_shares_a_pass_the_answers_are_those_of_each_alone(
    asked: list[tuple[list[int], BranchLayout]], limits: Limits, seed: int
) -> None:
    gated = GatedModel(NumpyModel(VOCABULARY, seed))
    with opened(gated, limits) as batcher:
        with queue_held(gated, batcher):
            futures = [ask(batcher, prompt, layout) for prompt, layout in asked]
        results = settle(futures)
    assert all(result.forward_passes == 1 for result in results)
    with opened(NumpyModel(VOCABULARY, seed), Limits(prefix_cache_bytes=0)) as alone:
        for (prompt, layout), result in zip(asked, results, strict=True):
            assert_same(result, ask(alone, prompt, layout).result(PATIENCE))


def assert_same(one: Settled, other: Settled) -> None:
    for row, expected in zip(one.branches, other.branches, strict=True):
        assert row is not None
        assert expected is not None
        assert np.argmax(row) == np.argmax(expected)
        assert np.exp(row) == pytest.approx(np.exp(expected), abs=1e-4)
