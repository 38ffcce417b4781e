"""Engine: decides conversations with one loaded model."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from archroute_server.engine.answer import Answer, Timings, TokenUsage
from archroute_server.engine.decoded import Decoded
from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.greedy import decode_greedily
from archroute_server.engine.identity import Identity
from archroute_server.engine.layout import BranchLayout, lay_out
from archroute_server.engine.model import Model
from archroute_server.engine.one_pass import decode_one_pass
from archroute_server.engine.prefix_cache import CacheStatistics, PrefixCache
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import decide
from archroute_server.router.encoder import EncodedPrompt, PromptEncoder
from archroute_server.router.message import Message
from archroute_server.router.policy import PolicySet
from archroute_server.runtime.kv_cache import KeyValueCache

Result = TypeVar("Result")

# Layouts are a few hundred kilobytes at 500 policies; inline policies make one each.
_LAYOUTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on the work of one decision, in tokens, and on the memory kept between decisions, in bytes.

    A trie whose branches take more than `tree_tokens` is decoded greedily, and so is every trie with a model
    without tree attention: the choice is the same, and the ranking holds only answers whose probability
    came to light on the way.
    """

    tree_tokens: int = 1024
    forward_tokens: int = 1024
    prefix_cache_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request made ready for the inference thread."""

    prompt: EncodedPrompt
    layout: BranchLayout
    seconds: float


@dataclass(frozen=True, slots=True)
class _Settled:
    """What the inference thread gives back; times are of `time.perf_counter`."""

    decoded: Decoded
    cached: int
    started: float
    seconds: float


class Engine:
    """Decides conversations: encode on one thread, run the model on another, settle.

    `decide` may be called by any number of tasks of one event loop; the model runs for one of them at
    a time, in the order of their arrival, with all of its threads.
    """

    def __init__(
        self, model: Model, encoder: PromptEncoder, end_of_turn: int, identity: Identity, limits: Limits
    ) -> None:
        self.identity = identity
        self._model = model
        self._encoder = encoder
        self._end_of_turn = end_of_turn
        self._limits = limits
        # Used by the inference thread alone.
        self._prefixes = PrefixCache(limits.prefix_cache_bytes)
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._inference = ThreadPoolExecutor(1, "inference")
        self._closed = False
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._layout = lru_cache(_LAYOUTS_KEPT)(self._make_layout)

    @property
    def prefix_statistics(self) -> CacheStatistics:
        """What the prefix cache did so far."""
        return self._prefixes.statistics

    async def decide(
        self, policies: PolicySet, messages: Sequence[Message], *, min_probability: float = 0.0
    ) -> Answer:
        """Decide which policy the conversation calls for.

        Cancelling the task takes the request out of the queue; a forward pass that has begun is finished.
        Raises `InvalidRequest` for a conversation that cannot be decided, and `EngineClosed`.
        """
        if self._closed:
            raise EngineClosed
        self._active += 1
        self._idle.clear()
        try:
            prepared = await self._on(self._tokenizing, lambda: self._prepare(policies, messages))
            queued = time.perf_counter()
            settled = await self._on(self._inference, lambda: self._run(prepared))
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
        return Answer(
            decision=decide(prepared.layout.trie, settled.decoded.branches, policies, min_probability),
            tokens=TokenUsage(
                prompt=len(prepared.prompt.token_ids),
                cached=settled.cached,
                dropped=prepared.prompt.dropped_tokens,
                dropped_messages=prepared.prompt.dropped_messages,
                forward_passes=settled.decoded.forward_passes,
            ),
            timings=Timings(
                queue=settled.started - queued, tokenize=prepared.seconds, inference=settled.seconds
            ),
        )

    async def close(self, grace: float) -> None:
        """Take no more requests, answer those that are here within `grace` seconds, then stop.

        Requests that are still queued then raise `EngineClosed`. The forward pass that runs is finished.
        """
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)
        for pool in (self._tokenizing, self._inference):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    async def _on(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        """Run `work` on the pool's thread; cancelling takes it out of the pool's queue."""
        try:
            future = pool.submit(work)
        except RuntimeError:  # the pool was shut down
            raise EngineClosed from None
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this task, so the pool was shut down with the work still queued.
            raise EngineClosed from None

    def _prepare(self, policies: PolicySet, messages: Sequence[Message]) -> _Prepared:
        """Encode the prompt and lay out the answers, on the tokenizing thread."""
        started = time.perf_counter()
        prompt = self._encoder.encode(policies, messages)
        layout = self._layout(policies)
        return _Prepared(prompt, layout, time.perf_counter() - started)

    def _make_layout(self, policies: PolicySet) -> BranchLayout:
        encoder = self._encoder
        return lay_out(answer_trie(policies, encoder.variant, encoder.tokenizer, self._end_of_turn))

    def _run(self, prepared: _Prepared) -> _Settled:
        """Run the model, on the inference thread."""
        started = time.perf_counter()
        prompt = prepared.prompt.token_ids
        # The last token is always read, for the logits behind it.
        with self._prefixes.match(prompt, limit=len(prompt) - 1) as known:
            past = self._model.empty_cache() if known is None else known
            decoded = self._decode(prompt, prepared.layout, past)
        self._prefixes.insert(prompt[: prepared.prompt.reusable], decoded.cache)
        return _Settled(decoded, past.tokens, started, time.perf_counter() - started)

    def _decode(self, prompt: Sequence[int], layout: BranchLayout, past: KeyValueCache) -> Decoded:
        limit = self._limits.forward_tokens
        if self._model.tree_attention and len(layout.token_ids) <= self._limits.tree_tokens:
            return decode_one_pass(self._model, prompt, layout, past, limit)
        return decode_greedily(self._model, prompt, layout.trie, past, limit)
