"""The service without its transport: requests in, responses out, errors raised."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Protocol

from archroute.v1 import router_pb2
from archroute_server.engine.answer import Answer
from archroute_server.engine.identity import Identity
from archroute_server.engine.time_limit import UNLIMITED, TimeLimit
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.message import Message
from archroute_server.router.policy import PolicySet
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.convert import (
    Question,
    find_policy_set,
    in_request_terms,
    read_question,
    write_policy_set,
    write_response,
    write_summary,
)
from archroute_server.rpc.errors import ServerStarting, ServerStopping
from archroute_server.telemetry.access_log import AccessEntry
from archroute_server.telemetry.finished_request import DecidedRequest
from archroute_server.telemetry.stages import observing
from archroute_server.telemetry.tracing import RequestTrace


class DecidingEngine(Protocol):
    """What the service needs of an engine."""

    @property
    def identity(self) -> Identity:
        """What decides: the bundle, its prompt variant, the provider."""

    async def decide(
        self,
        policies: PolicySet,
        messages: Sequence[Message],
        *,
        min_probability: float = 0.0,
        limit: TimeLimit = UNLIMITED,
    ) -> Answer:
        """Decide one conversation. Raises `InvalidRequest` and the errors of `engine.errors`."""


class RouterService:
    """Answers the four methods of the protocol.

    Decisions are made from `open`, which gives it an engine, until `stop`.
    """

    def __init__(self, policy_sets: PolicySets, *, max_deadline: float = math.inf) -> None:
        """Give each request at most `max_deadline` seconds from its arrival."""
        self._policy_sets = policy_sets
        self._max_deadline = max_deadline
        self._engine: DecidingEngine | None = None
        self.stopping = asyncio.Event()
        """Set once no further requests are taken."""

    def open(self, engine: DecidingEngine) -> None:
        """Decide requests with `engine` from now on."""
        self._engine = engine

    def stop(self) -> None:
        """Refuse further requests; those under way go on."""
        self.stopping.set()

    async def route(
        self, request: router_pb2.RouteRequest, entry: AccessEntry, remaining: float | None = None
    ) -> router_pb2.RouteResponse:
        """Decide one conversation. `remaining` is in seconds, until the caller's deadline if it has one.

        The request is checked before the engine is asked to admit it: that is cheap beside a decision, and
        who is told to come back with a wrong request would do so in vain. Raises what `rpc.status` has in its
        table.
        """
        if self.stopping.is_set():
            raise ServerStopping
        if self._engine is None:
            raise ServerStarting
        question = read_question(request, self._policy_sets)
        entry.add(policy_set=question.policies.name)
        entry.add_conversation(question.messages)
        _describe(entry.trace, question.policies, self._engine.identity)
        try:
            with observing(entry.trace.observe):
                answer = await self._engine.decide(
                    question.policies,
                    question.messages,
                    min_probability=question.min_probability,
                    limit=self._limit(question, entry, remaining),
                )
        except InvalidRequest as error:
            raise in_request_terms(error, request) from error
        entry.add_decision(_decided(answer, question.policies))
        return write_response(answer, question, request, self._engine.identity, entry.elapsed())

    def _limit(self, question: Question, entry: AccessEntry, remaining: float | None) -> TimeLimit:
        now = time.monotonic()
        arrival = now - entry.elapsed()
        deadline = math.inf if remaining is None else now + remaining
        return TimeLimit(min(deadline, arrival + self._max_deadline), arrival + question.decide_by)

    async def list_policy_sets(
        self, _request: router_pb2.ListPolicySetsRequest, _entry: AccessEntry, _remaining: float | None = None
    ) -> router_pb2.ListPolicySetsResponse:
        """Name the policy sets that this server holds."""
        names = self._policy_sets.names()
        return router_pb2.ListPolicySetsResponse(
            policy_sets=[write_summary(self._policy_sets.get(name), self._policy_sets) for name in names]
        )

    async def get_policy_set(
        self, request: router_pb2.GetPolicySetRequest, _entry: AccessEntry, _remaining: float | None = None
    ) -> router_pb2.GetPolicySetResponse:
        """Show one policy set whole."""
        policy_set = find_policy_set(request.name, self._policy_sets)
        return router_pb2.GetPolicySetResponse(policy_set=write_policy_set(policy_set))


def _describe(trace: RequestTrace, policies: PolicySet, identity: Identity) -> None:
    """Say in the trace what decides, which is known before it has."""
    trace.describe(
        policy_set=policies.name,
        policy_set_revision=policies.revision,
        bundle=identity.bundle_digest,
        prompt_variant=identity.prompt_variant,
        provider=identity.provider,
    )


def _decided(answer: Answer, policies: PolicySet) -> DecidedRequest:
    return DecidedRequest(
        outcome=answer.decision.outcome.name,
        policy=answer.decision.policy,
        probability=answer.decision.probability,
        policy_set=policies.name,
        prompt_tokens=answer.tokens.prompt,
        cached_tokens=answer.tokens.cached,
        dropped_tokens=answer.tokens.dropped,
        dropped_messages=answer.tokens.dropped_messages,
        forced_tokens=answer.tokens.forced,
        forward_passes=answer.tokens.forward_passes,
        from_decision_cache=answer.from_decision_cache,
        fallback_reason=answer.fallback_reason.name if answer.fallback_reason else None,
        queue=answer.timings.queue,
        tokenize=answer.timings.tokenize,
        inference=answer.timings.inference,
    )
