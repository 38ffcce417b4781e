"""Routers without a server, for an application's own tests.

    router = FakeRouter(decision("code_generation", models=("large-coder",)), selector=selector)
    assert my_gateway(router).model == "large-coder"
    router.answer = archroute.UnavailableError("down for the test")
    assert my_gateway(router).model == "openai/gpt-5-mini"

Only the server is missing: arguments are checked and selections are made as by the real clients. No test
needs to wait for a timeout, for a `DeadlineExceededError` is an answer like any other.
"""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping

from archroute.async_router import AsyncRouter
from archroute.decision import Decision, Outcome, RankedPolicy, Revisions, Timings, TokenUsage
from archroute.errors import ArchrouteError, PolicySetChangedError, PolicySetNotFoundError
from archroute.policy import Policy, PolicySet, PolicySetSummary, to_policy_set
from archroute.request import RouteRequest, to_request
from archroute.router import Router
from archroute.selection.selector import Selector
from archroute.stream import Answer
from archroute.v1 import router_pb2
from archroute.validation import Validation

__all__ = ["FakeAnswer", "FakeAsyncRouter", "FakeRouter", "decision"]

FakeAnswer = Decision | ArchrouteError | Callable[[router_pb2.RouteRequest], Decision | ArchrouteError]
"""What is answered to every request, an error being raised; or what gives it for the request as it would be
sent."""

_ADDRESS = "fake:1"


def decision(
    policy: str | None,
    *,
    models: Iterable[str] = (),
    probability: float = 1.0,
    ranking: Iterable[tuple[str, float]] = (),
    outcome: Outcome | None = None,
) -> Decision:
    """A decision as a server would give it.

    Args:
        policy: None for the outcome `OTHER`.
        models: The policy's models, the preferred one first.
        probability: Of the choice.
        ranking: Pairs of a policy and its probability; by default the choice and, with what is left to 1,
            `other`.
        outcome: If not the one that `policy` implies.
    """
    if outcome is None:
        outcome = Outcome.OTHER if policy is None else Outcome.MATCHED
    ranked = tuple(RankedPolicy(name, each) for name, each in ranking)
    if not ranked:
        ranked = (RankedPolicy(policy or "other", probability),)
        if policy is not None:
            ranked += (RankedPolicy("other", 1.0 - probability),)
    return Decision(
        policy=policy,
        outcome=outcome,
        probability=probability,
        ranking=ranked,
        models=tuple(models),
        revisions=Revisions("", "fake", "", "", "fake"),
        tokens=TokenUsage(0, 0, 0, 0, 0),
        timings=Timings(0.0, 0.0, 0.0, 0.0),
        session_id="",
    )


class _Script:
    """What both fakes share: what they answer, and what they were asked."""

    def __init__(self, answer: FakeAnswer, policy_sets: Iterable[PolicySet]) -> None:
        self.answer = answer
        self.policy_sets = tuple(policy_sets)
        self.requests: list[router_pb2.RouteRequest] = []

    def to(self, request: router_pb2.RouteRequest) -> Decision | ArchrouteError:
        self.requests.append(request)
        return self.answer(request) if callable(self.answer) else self.answer

    def in_stream(self, request_id: str, request: RouteRequest) -> Answer:
        try:
            return request_id, self.to(to_request(request))
        except ArchrouteError as error:
            return request_id, error

    def summaries(self) -> tuple[PolicySetSummary, ...]:
        """The first policy set is the default one."""
        summaries = [
            PolicySetSummary(each.name, each.revision, len(each.policies), index == 0, each.stored)
            for index, each in enumerate(self.policy_sets)
        ]
        return tuple(sorted(summaries, key=lambda each: each.name))

    def policy_set(self, name: str) -> PolicySet:
        for each in self.policy_sets:
            if name in ("", each.name):
                return each
        raise PolicySetNotFoundError(f"the fake router has no policy set {name!r}")

    def put(self, message: router_pb2.PolicySet, if_revision: str | None) -> PolicySet:
        self._check(message.name, if_revision)
        message.revision = _revision(message)
        message.stored = True
        policy_set = PolicySet.from_message(message)
        # In its place, since the first one is the default.
        there = {each.name: each for each in self.policy_sets} | {policy_set.name: policy_set}
        self.policy_sets = tuple(there.values())
        return policy_set

    def delete(self, name: str, if_revision: str | None) -> None:
        if not any(each.name == name for each in self.policy_sets):
            raise PolicySetNotFoundError(f"the fake router has no policy set {name!r}")
        self._check(name, if_revision)
        self.policy_sets = tuple(each for each in self.policy_sets if each.name != name)

    def _check(self, name: str, if_revision: str | None) -> None:
        current = next((each.revision for each in self.policy_sets if each.name == name), "")
        if if_revision is not None and if_revision != current:
            raise PolicySetChangedError(
                f"the policy set {name!r} of the fake router has the revision {current!r}",
                reason="REVISION_MISMATCH",
                metadata={"current_revision": current},
            )


def _revision(message: router_pb2.PolicySet) -> str:
    """A revision that equal policies share; not the one that a server would give."""
    content = router_pb2.PolicySet(policies=message.policies, default_policy=message.default_policy)
    return f"sha256:{hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()}"


def _validation(message: router_pb2.PolicySet) -> Validation:
    return Validation((), _revision(message), 0, 0)


def _given(answer: Decision | ArchrouteError) -> Decision:
    if isinstance(answer, ArchrouteError):
        raise answer
    return answer


class FakeRouter(Router):
    """A `Router` that answers by itself."""

    def __init__(
        self,
        answer: FakeAnswer,
        *,
        policy_sets: Iterable[PolicySet] = (),
        selector: Selector | None = None,
    ) -> None:
        """Opens no connection, now or later.

        Args:
            answer: What to answer. May be replaced later, as the attribute of that name.
            policy_sets: Those that the server would hold, the default one first.
            selector: As for `Router`.
        """
        super().__init__(_ADDRESS, selector=selector)
        self._script = _Script(answer, policy_sets)

    @property
    def answer(self) -> FakeAnswer:
        """What is answered from now on."""
        return self._script.answer

    @answer.setter
    def answer(self, answer: FakeAnswer) -> None:
        self._script.answer = answer

    @property
    def requests(self) -> list[router_pb2.RouteRequest]:
        """Every request until now, oldest first, as it would have been sent."""
        return self._script.requests

    def route_stream(
        self, requests: Iterable[tuple[str, RouteRequest]], *, timeout: float | None = None
    ) -> Iterator[Answer]:
        """Answers in the order of the requests."""
        for request_id, request in requests:
            yield self._script.in_stream(request_id, request)

    def list_policy_sets(self, *, timeout: float | None = None) -> tuple[PolicySetSummary, ...]:
        """The policy sets that it was built with, in the order of their names."""
        return self._script.summaries()

    def get_policy_set(self, name: str = "", *, timeout: float | None = None) -> PolicySet:
        """One of the policy sets that it was built with."""
        return self._script.policy_set(name)

    def validate_policy_set(
        self,
        policies: Iterable[Policy | Mapping[str, object]],
        *,
        name: str = "",
        default_policy: str | None = None,
        timeout: float | None = None,
    ) -> Validation:
        """Finds nothing: only a server can judge policies."""
        return _validation(to_policy_set(name, policies, default_policy))

    def put_policy_set(
        self,
        name: str,
        policies: Iterable[Policy | Mapping[str, object]],
        *,
        default_policy: str | None = None,
        if_revision: str | None = None,
        timeout: float | None = None,
    ) -> PolicySet:
        """Holds a policy set, whatever the policies are."""
        return self._script.put(to_policy_set(name, policies, default_policy), if_revision)

    def delete_policy_set(
        self, name: str, *, if_revision: str | None = None, timeout: float | None = None
    ) -> None:
        """Forgets one of the policy sets that it holds."""
        self._script.delete(name, if_revision)

    def _decide(self, request: router_pb2.RouteRequest, timeout: float | None) -> Decision:
        self._endpoint.seconds(timeout)
        return _given(self._script.to(request))


class FakeAsyncRouter(AsyncRouter):
    """An `AsyncRouter` that answers by itself."""

    def __init__(
        self,
        answer: FakeAnswer,
        *,
        policy_sets: Iterable[PolicySet] = (),
        selector: Selector | None = None,
    ) -> None:
        """Opens no connection, now or later. See `FakeRouter`."""
        super().__init__(_ADDRESS, selector=selector)
        self._script = _Script(answer, policy_sets)

    @property
    def answer(self) -> FakeAnswer:
        """What is answered from now on."""
        return self._script.answer

    @answer.setter
    def answer(self, answer: FakeAnswer) -> None:
        self._script.answer = answer

    @property
    def requests(self) -> list[router_pb2.RouteRequest]:
        """Every request until now, oldest first, as it would have been sent."""
        return self._script.requests

    async def route_stream(
        self,
        requests: Iterable[tuple[str, RouteRequest]] | AsyncIterable[tuple[str, RouteRequest]],
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Answers in the order of the requests."""
        if isinstance(requests, AsyncIterable):
            async for request_id, request in requests:
                yield self._script.in_stream(request_id, request)
        else:
            for request_id, request in requests:
                yield self._script.in_stream(request_id, request)

    async def list_policy_sets(self, *, timeout: float | None = None) -> tuple[PolicySetSummary, ...]:
        """The policy sets that it was built with, in the order of their names."""
        return self._script.summaries()

    async def get_policy_set(self, name: str = "", *, timeout: float | None = None) -> PolicySet:
        """One of the policy sets that it was built with."""
        return self._script.policy_set(name)

    async def validate_policy_set(
        self,
        policies: Iterable[Policy | Mapping[str, object]],
        *,
        name: str = "",
        default_policy: str | None = None,
        timeout: float | None = None,
    ) -> Validation:
        """Finds nothing: only a server can judge policies."""
        return _validation(to_policy_set(name, policies, default_policy))

    async def put_policy_set(
        self,
        name: str,
        policies: Iterable[Policy | Mapping[str, object]],
        *,
        default_policy: str | None = None,
        if_revision: str | None = None,
        timeout: float | None = None,
    ) -> PolicySet:
        """Holds a policy set, whatever the policies are."""
        return self._script.put(to_policy_set(name, policies, default_policy), if_revision)

    async def delete_policy_set(
        self, name: str, *, if_revision: str | None = None, timeout: float | None = None
    ) -> None:
        """Forgets one of the policy sets that it holds."""
        self._script.delete(name, if_revision)

    async def _decide(self, request: router_pb2.RouteRequest, timeout: float | None) -> Decision:
        self._endpoint.seconds(timeout)
        return _given(self._script.to(request))
