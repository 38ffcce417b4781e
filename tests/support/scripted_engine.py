"""An engine without a model, which answers what a script says for the text of the last message."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archroute_server.engine.answer import Answer, FallbackReason, Timings, TokenUsage
from archroute_server.engine.errors import QueueFull
from archroute_server.engine.identity import Identity
from archroute_server.engine.time_limit import UNLIMITED, DecideByMissed, TimeLimit, within
from archroute_server.router.conversation import rank
from archroute_server.router.decision import Decision, Outcome, Ranked, fallback
from archroute_server.router.message import Message
from archroute_server.router.policy import OTHER, PolicySet

# Of the choice; the rest is shared by the others.
PROBABILITY = 0.75


@dataclass(frozen=True)
class Line:
    """What becomes of a conversation that ends with `text`."""

    text: str
    policy: str = OTHER
    """What is decided: a policy of the request, or that none fits."""
    after: str = ""
    """Not before a conversation that ends with this text was decided."""
    never: bool = False
    """Not before the time is up, or the caller has gone."""
    fails: bool = False
    """A defect of the server instead."""
    refused: int = 0
    """How often the engine is full before."""
    retry_after: float = 0.0
    """Seconds, of those refusals."""


class ScriptedEngine:
    """Decides by its script.

    What is not in it fits no policy: a text that arrives as another one than was sent shows in the answer.
    """

    def __init__(self, script: Iterable[Line]) -> None:
        self.identity = Identity("sha256:0123", "arch-router/model-card", "cpu")
        self.attempts: defaultdict[str, list[float]] = defaultdict(list)
        """When conversations came, by their last text, in seconds of the monotonic clock."""
        self._script = {line.text: line for line in script}
        self._decided: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def decide(
        self,
        policies: PolicySet,
        messages: Sequence[Message],
        *,
        min_probability: float = 0.0,
        limit: TimeLimit = UNLIMITED,
    ) -> Answer:
        """Decide one conversation. Raises as the real engine does, and what the script says."""
        rank(messages)  # the errors of the real one
        text = messages[-1].text
        self.attempts[text].append(time.monotonic())
        line = self._script.get(text, Line(text))
        if len(self.attempts[text]) <= line.refused:
            raise QueueFull(1, "requests", "--queue-requests", line.retry_after)
        if line.fails:
            raise RuntimeError("the script says so")
        try:
            async with within(limit):
                await self._wait(line)
        except DecideByMissed as missed:
            return _answer(fallback(policies), missed.reason)
        self._decided[text].set()
        return _answer(_decision(policies, line.policy, min_probability))

    async def _wait(self, line: Line) -> None:
        if line.never:
            await asyncio.Event().wait()
        if line.after:
            await self._decided[line.after].wait()


def _decision(policies: PolicySet, chosen: str, min_probability: float) -> Decision:
    models = {policy.name: policy.models for policy in policies.policies}
    rest = [name for name in (*models, OTHER) if name != chosen]
    ranking = (
        Ranked(chosen, PROBABILITY),
        *(Ranked(name, (1 - PROBABILITY) / len(rest)) for name in rest),
    )
    if chosen == OTHER:
        return Decision(None, Outcome.OTHER, PROBABILITY, ranking, ())
    if min_probability > PROBABILITY:
        return Decision(None, Outcome.LOW_CONFIDENCE, PROBABILITY, ranking, ())
    return Decision(chosen, Outcome.MATCHED, PROBABILITY, ranking, models[chosen])


def _answer(decision: Decision, fallback_reason: FallbackReason | None = None) -> Answer:
    return Answer(
        decision=decision,
        tokens=TokenUsage(prompt=120, cached=100, dropped=0, dropped_messages=0, forward_passes=1),
        timings=Timings(queue=0.0, tokenize=0.0, inference=0.0),
        fallback_reason=fallback_reason,
    )
