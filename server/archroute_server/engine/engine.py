"""Engine: decides conversations with one loaded model."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from archroute_server.engine.answer import Answer, Timings, TokenUsage
from archroute_server.engine.batcher import Batcher, BatchStatistics
from archroute_server.engine.decision_cache import (
    Branches,
    DecisionCache,
    DecisionCacheStatistics,
    DecisionKey,
)
from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.identity import Identity
from archroute_server.engine.layout import BranchLayout, lay_out
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.engine.packed_row import Question
from archroute_server.engine.prefix_cache import CacheStatistics
from archroute_server.engine.request import Settled
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import Rows, decide
from archroute_server.router.encoder import EncodedPrompt, PromptEncoder
from archroute_server.router.message import Message
from archroute_server.router.policy import PolicySet
from archroute_server.router.trie import AnswerTrie

# Layouts are a few hundred kilobytes at 500 policies; inline policies make one each.
_LAYOUTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request made ready for the inference thread."""

    prompt: EncodedPrompt
    layout: BranchLayout
    seconds: float


class Engine:
    """Decides conversations: encode on one thread, recall or run the model on another, decide.

    `decide` may be called by any number of tasks of one event loop; see `Batcher` for whom the model runs
    next, and `DecisionCache` for what it does not run for.
    """

    def __init__(
        self, model: Model, encoder: PromptEncoder, end_of_turn: int, identity: Identity, limits: Limits
    ) -> None:
        self.identity = identity
        self._encoder = encoder
        self._end_of_turn = end_of_turn
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._batcher = Batcher(model, limits)
        self._decisions = DecisionCache(limits.decision_cache_entries, limits.decision_cache_seconds)
        self._closed = False
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._layout = lru_cache(_LAYOUTS_KEPT)(self._make_layout)

    @property
    def prefix_statistics(self) -> CacheStatistics:
        """What the prefix cache did so far."""
        return self._batcher.prefix_statistics

    @property
    def batch_statistics(self) -> BatchStatistics:
        """What the model was run for so far."""
        return self._batcher.statistics

    @property
    def decision_statistics(self) -> DecisionCacheStatistics:
        """What the decision cache did so far."""
        return self._decisions.statistics

    async def decide(
        self, policies: PolicySet, messages: Sequence[Message], *, min_probability: float = 0.0
    ) -> Answer:
        """Decide which policy the conversation calls for.

        Cancelling the task takes the request out of the queue; a forward pass that has begun is finished.
        Raises `InvalidRequest` for a conversation that cannot be decided, and `EngineClosed`.
        """
        with self._under_way():
            prepared = await self._tokenize(policies, messages)
            queued = time.perf_counter()
            key = DecisionKey.of(policies.revision, prepared.prompt.token_ids)
            async with self._decisions.recall(key) as known:
                settled = await self._infer(prepared) if known is None else _recalled(known)
                trie, temperature = prepared.layout.trie, self.identity.temperature or 1.0
                decision = decide(trie, settled.branches, policies, min_probability, temperature)
                if known is None:
                    self._decisions.remember(key, settled.branches)
        return Answer(
            decision=decision,
            tokens=TokenUsage(
                prompt=len(prepared.prompt.token_ids),
                cached=settled.cached,
                dropped=prepared.prompt.dropped_tokens,
                dropped_messages=prepared.prompt.dropped_messages,
                forward_passes=settled.forward_passes,
            ),
            timings=Timings(
                queue=settled.started - queued, tokenize=prepared.seconds, inference=settled.seconds
            ),
            from_decision_cache=known is not None,
        )

    async def read_branches(
        self, policies: PolicySet, messages: Sequence[Message]
    ) -> tuple[AnswerTrie, Rows]:
        """Return what the model says at each branch, before any temperature, to fit one on.

        Raises what `decide` raises.
        """
        with self._under_way():
            prepared = await self._tokenize(policies, messages)
            return prepared.layout.trie, (await self._infer(prepared)).branches

    async def close(self, grace: float) -> None:
        """Take no more requests, answer those that are here within `grace` seconds, then stop.

        Requests that are still queued then raise `EngineClosed`. The forward pass that runs is finished.
        """
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)
        await asyncio.to_thread(self._tokenizing.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self._batcher.close)

    @contextlib.contextmanager
    def _under_way(self) -> Iterator[None]:
        """Count a request for as long as the block runs. Raises `EngineClosed`."""
        if self._closed:
            raise EngineClosed
        self._active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _tokenize(self, policies: PolicySet, messages: Sequence[Message]) -> _Prepared:
        """Prepare a request on the tokenizing thread; cancelling takes it out of that thread's queue."""
        try:
            future: Future[_Prepared] = self._tokenizing.submit(self._prepare, policies, messages)
        except RuntimeError:  # it was shut down
            raise EngineClosed from None
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this task, so the thread was shut down with the work still queued.
            raise EngineClosed from None

    async def _infer(self, prepared: _Prepared) -> Settled:
        """Let the model run; cancelling takes the request out of the queue."""
        question = Question(prepared.prompt.token_ids, prepared.layout)
        return await asyncio.wrap_future(self._batcher.submit(question, prepared.prompt.reusable))

    def _prepare(self, policies: PolicySet, messages: Sequence[Message]) -> _Prepared:
        """Encode the prompt and lay out the answers, on the tokenizing thread."""
        started = time.perf_counter()
        prompt = self._encoder.encode(policies, messages)
        layout = self._layout(policies)
        return _Prepared(prompt, layout, time.perf_counter() - started)

    def _make_layout(self, policies: PolicySet) -> BranchLayout:
        encoder = self._encoder
        return lay_out(answer_trie(policies, encoder.variant, encoder.tokenizer, self._end_of_turn))


def _recalled(branches: Branches) -> Settled:
    """Return what is known as if the inference thread had given it back now."""
    return Settled(branches, cached=0, forward_passes=0, started=time.perf_counter(), seconds=0.0)
