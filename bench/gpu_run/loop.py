"""Callers who ask an engine one request after the other, all at the same time."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from archroute_server.engine.answer import Answer
from archroute_server.engine.engine import Engine
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import PolicySet


@dataclass(frozen=True)
class Round:
    """What so many callers saw: the seconds of each decision, its answer, and how long all took."""

    latencies: list[float]
    answers: list[Answer]
    seconds: float


class Asker:
    """Asks the requests of one case in turn, and begins again behind the last."""

    def __init__(self, engine: Engine, policies: PolicySet, texts: Sequence[str]) -> None:
        self._engine = engine
        self._policies = policies
        self._texts = itertools.cycle(texts)

    async def ask(self) -> Answer:
        """Ask the next request."""
        return await self._engine.decide(self._policies, [Message(Role.USER, next(self._texts))])

    async def together(self, callers: int, seconds: float) -> Round:
        """Let `callers` ask for so many seconds, each at least once."""
        latencies: list[float] = []
        answers: list[Answer] = []
        start = time.perf_counter()

        async def call() -> None:
            while True:
                before = time.perf_counter()
                answers.append(await self.ask())
                after = time.perf_counter()
                latencies.append(after - before)
                if after - start > seconds:
                    return

        await asyncio.gather(*(call() for _ in range(callers)))
        return Round(latencies, answers, time.perf_counter() - start)
