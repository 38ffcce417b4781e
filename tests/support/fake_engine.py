"""An engine without a model: decides for the first policy, and can be held or made to fail."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from archroute_server.engine.admission import AdmissionStatistics
from archroute_server.engine.answer import Answer, FallbackReason, Timings, TokenUsage
from archroute_server.engine.batcher import BatchStatistics
from archroute_server.engine.decision_cache import DecisionCacheStatistics
from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.identity import Identity
from archroute_server.engine.policy_set_size import PolicySetSize
from archroute_server.engine.prefix_cache import CacheStatistics
from archroute_server.engine.self_test import SelfTestReport
from archroute_server.engine.time_limit import UNLIMITED, DecideByMissed, TimeLimit, within
from archroute_server.engine.vitals import Vitals
from archroute_server.engine.warm_up import WARM_UP_MESSAGES
from archroute_server.router.conversation import rank
from archroute_server.router.decision import Decision, Outcome, Ranked, fallback
from archroute_server.router.message import Message
from archroute_server.router.policy import OTHER, PolicySet

PROBABILITY = 0.75
HEALTHY = Vitals(failed_runs=0, failures_in_a_row=0, forward_seconds=0.0, stalled=False)


class Hold:
    """Keeps a decision waiting, and tells what happens to it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()


class FakeEngine:
    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or Identity("sha256:0123", "arch-router/model-card", "cpu")
        self.decided: list[tuple[PolicySet, tuple[Message, ...]]] = []
        self.limits: list[TimeLimit] = []
        self.kept: list[PolicySet] = []
        self.size = PolicySetSize(
            prompt_tokens=150, max_prompt_tokens=4096, branch_tokens=9, max_branch_tokens=1024
        )
        self.closed = asyncio.Event()
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._holds: dict[str, Hold] = {}
        self._failures: dict[str, Exception] = {}
        self._changes: dict[str, Callable[[Answer], Answer]] = {}
        self.admission_statistics = AdmissionStatistics(*[0] * 7)
        self.prefix_statistics = CacheStatistics(*[0] * 6)
        self.batch_statistics = BatchStatistics(*[0] * 8)
        self.decision_statistics = DecisionCacheStatistics(*[0] * 3)
        self.vitals = HEALTHY
        self.self_test: SelfTestReport | Exception | None = SelfTestReport(6, 0.01, 0.1)
        self.probe_error: Exception | None = None
        self.probes = 0
        self.abandoned = 0
        self.hangs = False
        """Whether a forward pass is still running after the engine was closed."""

    def hold(self, text: str) -> Hold:
        """Let decisions on conversations that end with `text` wait."""
        return self._holds.setdefault(text, Hold())

    def fail(self, text: str, error: Exception) -> None:
        """Let decisions on conversations that end with `text` raise."""
        self._failures[text] = error

    def answer(self, text: str, change: Callable[[Answer], Answer]) -> None:
        """Let decisions on conversations that end with `text` be something else."""
        self._changes[text] = change

    async def decide(
        self,
        policies: PolicySet,
        messages: Sequence[Message],
        *,
        min_probability: float = 0.0,
        limit: TimeLimit = UNLIMITED,
    ) -> Answer:
        self.limits.append(limit)
        self._active += 1
        self._idle.clear()
        try:
            async with within(limit):
                return await self._decide(policies, messages, min_probability)
        except DecideByMissed as missed:
            return _fallback(policies, missed.reason)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _decide(
        self, policies: PolicySet, messages: Sequence[Message], min_probability: float
    ) -> Answer:
        if self.closed.is_set():
            raise EngineClosed
        rank(messages)  # the errors of the real one
        text = messages[-1].text
        if (hold := self._holds.get(text)) is not None:
            await self._wait(hold)
        if (error := self._failures.get(text)) is not None:
            raise error
        self.decided.append((policies, tuple(messages)))
        answer = _answer(policies, min_probability)
        return self._changes.get(text, lambda unchanged: unchanged)(answer)

    async def run_self_test(self) -> SelfTestReport | None:
        if isinstance(self.self_test, Exception):
            raise self.self_test
        return self.self_test

    async def probe(self) -> None:
        self.probes += 1
        if self.probe_error is not None:
            raise self.probe_error

    def abandon(self) -> int:
        self.abandoned += 1
        return 0

    async def warm(self, policies: PolicySet) -> None:
        await self._decide(policies, WARM_UP_MESSAGES, 0.0)

    async def keep(self, policy_sets: Sequence[PolicySet]) -> None:
        self.kept = list(policy_sets)

    async def measure(self, policies: PolicySet) -> PolicySetSize:
        return self.size

    async def close(self, grace: float, patience: float | None = None) -> bool:
        # As the real one, which answers those who are here before it is closed.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)
        self.closed.set()
        return not self.hangs

    async def _wait(self, hold: Hold) -> None:
        hold.started.set()
        release = asyncio.ensure_future(hold.release.wait())
        closed = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait({release, closed}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            hold.cancelled.set()
            raise
        finally:
            release.cancel()
            closed.cancel()
        if self.closed.is_set():
            raise EngineClosed


def _answer(policies: PolicySet, min_probability: float) -> Answer:
    first = policies.policies[0]
    matched = min_probability <= PROBABILITY
    rest = [policy.name for policy in policies.policies[1:]] + [OTHER]
    others = tuple(Ranked(name, (1 - PROBABILITY) / len(rest)) for name in rest)
    return Answer(
        decision=Decision(
            policy=first.name if matched else None,
            outcome=Outcome.MATCHED if matched else Outcome.LOW_CONFIDENCE,
            probability=PROBABILITY,
            ranking=(Ranked(first.name, PROBABILITY), *others),
            models=first.models if matched else (),
        ),
        tokens=TokenUsage(prompt=120, cached=100, dropped=7, dropped_messages=2, forward_passes=1, forced=9),
        timings=Timings(queue=0.001, tokenize=0.002, inference=0.25),
    )


def _fallback(policies: PolicySet, reason: FallbackReason) -> Answer:
    return Answer(
        decision=fallback(policies),
        tokens=TokenUsage(prompt=0, cached=0, dropped=0, dropped_messages=0, forward_passes=0),
        timings=Timings(queue=0.004, tokenize=0.0, inference=0.0),
        fallback_reason=reason,
    )
