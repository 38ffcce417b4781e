"""archroute's engine in this process, without a network."""

import asyncio
import threading
from pathlib import Path

from archroute_server.engine.engine import Engine
from archroute_server.engine.limits import Limits
from archroute_server.engine.loading import load_engine
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, Policy, PolicySet
from peers.backends.backend import Backend, Decided
from peers.cases import Case, Request
from peers.settings import MAX_PROMPT_TOKENS, TREE_TOKENS


class ArchrouteEngine(Backend):
    """An event loop on a thread of its own, as in the server. Equal prompts are decided again."""

    concurrent = True

    def __init__(self, bundle: Path, threads: int) -> None:
        self._engine: Engine = load_engine(
            bundle,
            provider="cpu",
            threads=threads,
            max_prompt_tokens=MAX_PROMPT_TOKENS,
            limits=Limits(tree_tokens=TREE_TOKENS, decision_cache_entries=0),
        )
        self._policies: dict[str, PolicySet] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def decide(self, case: Case, request: Request) -> Decided:
        """Decide on the engine's loop."""
        messages = [Message(Role(message.role), message.text) for message in request.messages]
        deciding = self._engine.decide(self._policy_set(case), messages)
        answer = asyncio.run_coroutine_threadsafe(deciding, self._loop).result()
        return Decided(answer.decision.policy or OTHER, answer.tokens.prompt)

    def close(self) -> None:
        """Stop the engine and its loop."""
        asyncio.run_coroutine_threadsafe(self._engine.close(0), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _policy_set(self, case: Case) -> PolicySet:
        if case.name not in self._policies:
            policies = tuple(Policy(name, description) for name, description in case.policies.items())
            self._policies[case.name] = PolicySet("", policies)
        return self._policies[case.name]
