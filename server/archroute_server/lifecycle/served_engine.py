"""The engine that decides, for everyone who has to know it."""

from collections.abc import Callable
from typing import Protocol

from archroute_server.catalogue.catalogue import PolicyEngine
from archroute_server.engine.self_test import SelfTestReport
from archroute_server.metrics.engine import MeasuredEngine
from archroute_server.rpc.service import DecidingEngine

LAST_PASS_SECONDS = 5.0
"""How long a forward pass is waited for when an engine is closed and everything else of it is over."""


class ServedEngine(DecidingEngine, PolicyEngine, MeasuredEngine, Protocol):
    """An engine that the application owns."""

    async def run_self_test(self) -> SelfTestReport | None:
        """Ask the fixed prompts; see `archroute_server.engine.engine.Engine.run_self_test`."""

    async def probe(self) -> None:
        """Find out whether the model runs; see `archroute_server.engine.engine.Engine.probe`."""

    def abandon(self) -> int:
        """Tell everyone who waits that the model has stalled, and return how many they are."""

    async def close(self, grace: float, patience: float | None = None) -> bool:
        """Stop deciding; see `archroute_server.engine.engine.Engine.close`."""


class CurrentEngine:
    """Which engine decides now. Belongs to one event loop."""

    def __init__(self, engine: ServedEngine, *users: Callable[[ServedEngine], object]) -> None:
        """Tell `users` of the engine, and of each that takes its place, at once and in their order."""
        self._users = users
        self._engine = engine
        self.replace(engine)

    @property
    def engine(self) -> ServedEngine:
        """The engine that decides."""
        return self._engine

    def replace(self, engine: ServedEngine) -> ServedEngine:
        """Let `engine` decide from now on; return the one before, which may still have requests under way."""
        before, self._engine = self._engine, engine
        for use in self._users:
            use(engine)
        return before
