"""Engine: decides conversations with one loaded model."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import ParamSpec, TypeVar

from archroute_server.engine.admission import Admission, AdmissionStatistics, Permit
from archroute_server.engine.answer import Answer, FallbackReason, Timings, TokenUsage
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
from archroute_server.engine.policy_set_size import PolicySetSize
from archroute_server.engine.prefix_cache import CacheStatistics
from archroute_server.engine.recent_prompts import RecentPrompt, RecentPrompts, question_digest
from archroute_server.engine.request import Settled
from archroute_server.engine.self_test import SelfTest, SelfTestReport
from archroute_server.engine.time_limit import UNLIMITED, DecideByMissed, TimeLimit, within
from archroute_server.engine.vitals import Vitals
from archroute_server.engine.warm_up import WARM_UP_MESSAGES, WARM_UP_POLICIES
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import Decision, Rows, decide, fallback, greedy_answer
from archroute_server.router.encoder import EncodedPrompt, PromptEncoder
from archroute_server.router.message import Message
from archroute_server.router.policy import PolicySet
from archroute_server.router.trie import AnswerTrie
from archroute_server.telemetry.stages import (
    Stage,
    StageObserver,
    StageRun,
    observed,
    stage_observer,
    unobserved,
)

P = ParamSpec("P")
T = TypeVar("T")

# Layouts are a few hundred kilobytes at 500 policies; inline policies make one each.
_LAYOUTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request made ready for the inference thread."""

    prompt: EncodedPrompt
    layout: BranchLayout
    seconds: float

    @property
    def question(self) -> Question:
        """What the model is asked."""
        return Question(self.prompt.token_ids, self.layout)


@dataclass(slots=True)
class _Work:
    """A request on its way through the engine, and how far it came."""

    policies: PolicySet
    messages: Sequence[Message]
    min_probability: float
    limit: TimeLimit
    digest: bytes
    """Of the policies and messages; see `RecentPrompts`."""
    observer: StageObserver
    prepared: _Prepared | None = None
    queued: float = 0.0
    """When it was prepared, of `time.perf_counter`."""


class Engine:
    """Decides conversations: admit, encode on one thread, recall or run the model on another, decide.

    While the model runs, which releases the interpreter's lock, the next prompts are tokenized and laid out.

    `decide` may be called by any number of tasks of one event loop; see `Admission` for whom it turns away,
    `Batcher` for whom the model runs next, and `DecisionCache` for what it does not run for.
    """

    def __init__(
        self,
        model: Model,
        encoder: PromptEncoder,
        end_of_turn: int,
        identity: Identity,
        limits: Limits,
        self_test: SelfTest | None = None,
    ) -> None:
        self.identity = identity
        self._self_test = self_test
        self._encoder = encoder
        self._end_of_turn = end_of_turn
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._admission = Admission(limits.queue_requests, limits.queue_tokens)
        self._batcher = Batcher(model, limits)
        self._decisions = DecisionCache(limits.decision_cache_entries, limits.decision_cache_seconds)
        self._recent = RecentPrompts(limits.decision_cache_entries)
        self._limits = limits
        self._closed = False
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._layout = lru_cache(_LAYOUTS_KEPT)(self._make_layout)

    @property
    def admission_statistics(self) -> AdmissionStatistics:
        """Who was let in and turned away so far."""
        return self._admission.statistics

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

    @property
    def vitals(self) -> Vitals:
        """Whether the model runs; any thread may ask."""
        return self._batcher.vitals

    async def decide(
        self,
        policies: PolicySet,
        messages: Sequence[Message],
        *,
        min_probability: float = 0.0,
        limit: TimeLimit = UNLIMITED,
    ) -> Answer:
        """Decide which policy the conversation calls for, or fall back once `limit.decide_by` has passed.

        Cancelling the task takes the request out of the queue, as the passing of the limit does; a forward
        pass that has begun is finished. What was decided a moment ago is answered whatever is under way.

        Raises `InvalidRequest` for a conversation that cannot be decided, `DeadlineExceeded`, `QueueFull`,
        `DeadlineUnreachable`, `ModelFailed`, `ModelStalled` and `EngineClosed`.
        """
        digest = question_digest(policies.revision, messages)
        work = _Work(policies, messages, min_probability, limit, digest, stage_observer())
        with self._under_way():
            if (known := self._recall_at_once(work)) is not None:
                return known
            try:
                with observed(Stage.ADMISSION, [work.observer]):
                    permit = self._admission.enter(limit)
                with permit:
                    async with within(limit):
                        return await self._decide(work, permit)
            except DecideByMissed as missed:
                return _fallback(work, missed.reason)

    async def read_branches(
        self, policies: PolicySet, messages: Sequence[Message]
    ) -> tuple[AnswerTrie, Rows]:
        """Return what the model says at each branch, before any temperature, to fit one on.

        Raises what `decide` raises.
        """
        with self._under_way():
            prepared = await self._tokenize(policies, messages, unobserved)
            return prepared.layout.trie, (await self._infer(prepared, UNLIMITED, unobserved)).branches

    async def run_self_test(self) -> SelfTestReport | None:
        """Ask the fixed prompts of the bundle; None if it has none.

        Raises `SelfTestFailed`, `ModelFailed`, `ModelStalled` and `EngineClosed`.
        """
        return None if self._self_test is None else await self._self_test.run(self._ask)

    async def probe(self) -> None:
        """Find out whether the model runs, with the next of the fixed prompts, or else the warm-up's.

        Raises what `run_self_test` raises.
        """
        if self._self_test is None:
            await self.read_branches(WARM_UP_POLICIES, WARM_UP_MESSAGES)
        else:
            await self._self_test.run_next(self._ask)

    async def warm(self, policies: PolicySet) -> None:
        """Let the model read the policies, so that no caller waits for that.

        Takes its turn in the queue, however full it is. Raises `InvalidRequest` for a policy set that no
        conversation could be decided with, `ModelFailed`, `ModelStalled` and `EngineClosed`.
        """
        with self._under_way():
            prepared = await self._tokenize(policies, WARM_UP_MESSAGES, unobserved)
            await self._infer(prepared, UNLIMITED, unobserved)

    async def keep(self, policy_sets: Sequence[PolicySet]) -> None:
        """Keep these sets in the prefix cache once they were read, and no others; see `PrefixCache.keep`.

        Raises `InvalidRequest` and `EngineClosed`.
        """
        with self._under_way():
            self._batcher.keep(await self._prepare_with(self._prefixes, policy_sets))

    async def measure(self, policies: PolicySet) -> PolicySetSize:
        """Say how large a policy set is for the model. Raises what `keep` raises, and runs no model."""
        with self._under_way():
            return await self._prepare_with(self._measure_policies, policies)

    def abandon(self) -> int:
        """Tell everyone who waits for the model, which has stalled, `ModelStalled`; return how many."""
        return self._batcher.abandon()

    async def close(self, grace: float, patience: float | None = None) -> bool:
        """Take no more requests, answer those that are here within `grace` seconds, then stop.

        Requests that are still queued then raise `EngineClosed`. The forward pass that runs is finished, or
        given up after `patience` seconds: then the requests that it runs for raise the same. Returns whether
        it was finished, so that nothing of the engine runs any more.
        """
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)
        await asyncio.to_thread(self._tokenizing.shutdown, wait=True, cancel_futures=True)
        return await asyncio.to_thread(self._batcher.close, patience)

    def _recall_at_once(self, work: _Work) -> Answer | None:
        """Answer from the decision cache if the same question was decided a moment ago."""
        prompt = self._recent.get(work.digest)
        if prompt is None or (branches := self._decisions.recall_at_once(prompt.key)) is None:
            return None
        return Answer(
            decision=self._judge(work, prompt.trie, branches),
            tokens=TokenUsage(
                prompt=prompt.prompt_tokens,
                cached=0,
                dropped=prompt.dropped_tokens,
                dropped_messages=prompt.dropped_messages,
                forward_passes=0,
            ),
            timings=Timings(queue=0.0, tokenize=0.0, inference=0.0),
            from_decision_cache=True,
        )

    async def _decide(self, work: _Work, permit: Permit) -> Answer:
        """Decide a request that was admitted."""
        prepared = work.prepared = await self._tokenize(work.policies, work.messages, work.observer)
        work.queued = time.perf_counter()
        prompt, trie = prepared.prompt, prepared.layout.trie
        key = DecisionKey.of(work.policies.revision, prompt.token_ids)
        async with self._decisions.recall(key) as known:
            if known is None:
                permit.charge(prepared.question.new_tokens(cached=0))
                settled = await self._infer(prepared, work.limit, work.observer)
            else:
                settled = _recalled(known)
                work.observer(StageRun(Stage.QUEUE, work.queued, settled.started))
            decision = self._judge(work, trie, settled.branches)
            if known is None:
                self._decisions.remember(key, settled.branches)
        tokens = len(prompt.token_ids)
        recent = RecentPrompt(key, trie, tokens, prompt.dropped_tokens, prompt.dropped_messages)
        self._recent.remember(work.digest, recent)
        return Answer(
            decision=decision,
            tokens=TokenUsage(
                prompt=tokens,
                cached=settled.cached,
                dropped=prompt.dropped_tokens,
                dropped_messages=prompt.dropped_messages,
                forward_passes=settled.forward_passes,
                forced=_forced_tokens(trie, settled.branches) if known is None else 0,
            ),
            timings=Timings(
                queue=settled.started - work.queued, tokenize=prepared.seconds, inference=settled.seconds
            ),
            from_decision_cache=known is not None,
        )

    def _judge(self, work: _Work, trie: AnswerTrie, branches: Branches) -> Decision:
        temperature = self.identity.temperature or 1.0
        with observed(Stage.DECIDE, [work.observer]) as facts:
            facts["answers"] = len(trie.answers)
            return decide(trie, branches, work.policies, work.min_probability, temperature)

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

    async def _tokenize(
        self, policies: PolicySet, messages: Sequence[Message], observer: StageObserver
    ) -> _Prepared:
        """Prepare a request."""
        return await self._prepare_with(self._prepare, policies, messages, observer)

    async def _prepare_with(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function on the tokenizing thread; cancelling takes it out of that thread's queue."""
        try:
            future: Future[T] = self._tokenizing.submit(function, *arguments, **named)
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

    async def _ask(self, question: Question, reusable: int) -> Rows:
        with self._under_way():
            return (await asyncio.wrap_future(self._batcher.submit(question, reusable))).branches

    async def _infer(self, prepared: _Prepared, limit: TimeLimit, observer: StageObserver) -> Settled:
        """Let the model run; cancelling takes the request out of the queue."""
        question = prepared.question
        future = self._batcher.submit(question, prepared.prompt.reusable, limit, observer)
        loop = asyncio.get_running_loop()

        def measure(done: Future[Settled]) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(self._measure, question.new_tokens(cached=0), done)

        # Of the future, since a run that nobody waits for any more tells the pace as well.
        future.add_done_callback(measure)
        return await asyncio.wrap_future(future)

    def _measure(self, tokens: int, done: Future[Settled]) -> None:
        """Tell the admission how long a request took, if the model ran for it."""
        if done.cancelled() or done.exception() is not None:
            return
        settled = done.result()
        self._admission.record(tokens, settled.seconds / settled.requests)

    def _prepare(
        self, policies: PolicySet, messages: Sequence[Message], observer: StageObserver
    ) -> _Prepared:
        """Encode the prompt and lay out the answers, on the tokenizing thread."""
        started = time.perf_counter()
        with observed(Stage.TOKENIZE, [observer]) as facts:
            prompt = self._encoder.encode(policies, messages)
            layout = self._layout(policies)
            facts["tokens.prompt"] = len(prompt.token_ids)
        return _Prepared(prompt, layout, time.perf_counter() - started)

    def _prefixes(self, policy_sets: Sequence[PolicySet]) -> list[tuple[int, ...]]:
        return [self._encoder.prefix(policies) for policies in policy_sets]

    def _measure_policies(self, policies: PolicySet) -> PolicySetSize:
        budget = self._encoder.budget
        return PolicySetSize(
            prompt_tokens=budget - self._encoder.room(policies),
            max_prompt_tokens=budget,
            branch_tokens=len(self._layout(policies).token_ids),
            max_branch_tokens=self._limits.tree_tokens,
        )

    def _make_layout(self, policies: PolicySet) -> BranchLayout:
        encoder = self._encoder
        return lay_out(answer_trie(policies, encoder.variant, encoder.tokenizer, self._end_of_turn))


def _forced_tokens(trie: AnswerTrie, branches: Rows) -> int:
    answer = greedy_answer(trie, branches)
    return len(trie.sequences[answer]) - trie.choices[answer]


def _recalled(branches: Branches) -> Settled:
    """Return what is known as if the inference thread had given it back now."""
    return Settled(branches, cached=0, forward_passes=0, started=time.perf_counter(), seconds=0.0)


def _fallback(work: _Work, reason: FallbackReason) -> Answer:
    """Answer without a decision, and say how far it came."""
    tokens, timings = TokenUsage(0, 0, 0, 0, 0), Timings(0.0, 0.0, 0.0)
    if (prepared := work.prepared) is not None:
        prompt = prepared.prompt
        tokens = TokenUsage(len(prompt.token_ids), 0, prompt.dropped_tokens, prompt.dropped_messages, 0)
        timings = Timings(time.perf_counter() - work.queued, prepared.seconds, 0.0)
    return Answer(fallback(work.policies), tokens, timings, fallback_reason=reason)
