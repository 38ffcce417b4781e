"""The asyncio twin of `archroute.router`: the same methods, awaited."""

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from archroute.decision import Decision, from_response
from archroute.endpoint import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, ChannelOption, Endpoint, grpc_timeout
from archroute.errors import ProtocolError
from archroute.fields import checked_text, invalid
from archroute.message import Conversation
from archroute.policy import Policy, PolicySet, PolicySetSummary
from archroute.request import RouteRequest, to_request
from archroute.selection.needs import Needs
from archroute.selection.selection import Selection
from archroute.selection.selector import Selector
from archroute.stream import Answer, StreamSession
from archroute.trace_context import trace_metadata
from archroute.v1 import router_pb2, router_pb2_grpc

__all__ = ["AsyncRouter"]


class AsyncRouter:
    """Asks an archroute server which policy a conversation calls for, from asyncio.

        async with archroute.AsyncRouter("localhost:50051") as router:
            decision = await router.route("My pod keeps restarting", policy_set="llm-gateway")

    Belongs to the event loop of its first call, and may be shared between the tasks of that loop. Close it
    when done, or use it in an `async with` statement. The methods are those of `archroute.Router`, which
    documents their arguments; cancelling a task cancels its call.

    Every method raises a subclass of `ArchrouteError`; `archroute.errors` draws them.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[ChannelOption] = (),
        selector: Selector | None = None,
    ) -> None:
        """Opens no connection yet, and may be called where no event loop runs. See `archroute.Router`."""
        self._endpoint = Endpoint.checked(address, timeout, options)
        self._selector = selector
        self._credentials = credentials
        self._channel: grpc.aio.Channel | None = None
        self._stub: router_pb2_grpc.RouterServiceStub | None = None
        self._closed = False

    async def route(
        self,
        messages: Conversation,
        *,
        policy_set: str | None = None,
        policies: Iterable[Policy | Mapping[str, object]] | None = None,
        top_k: int = 0,
        min_probability: float = 0.0,
        session_id: str = "",
        decide_by: float | None = None,
        timeout: float | None = None,
    ) -> Decision:
        """Decides one conversation."""
        request = RouteRequest(
            messages=messages,
            policy_set=policy_set,
            policies=policies,
            top_k=top_k,
            min_probability=min_probability,
            session_id=session_id,
            decide_by=decide_by,
        )
        return await self._decide(to_request(request), timeout)

    async def select(
        self,
        messages: Conversation,
        *,
        needs: Needs | None = None,
        key: str = "",
        policy_set: str | None = None,
        policies: Iterable[Policy | Mapping[str, object]] | None = None,
        min_probability: float = 0.0,
        timeout: float | None = None,
        strict: bool = False,
    ) -> Selection:
        """Chooses the model to send a conversation to, and does not raise unless `strict`."""
        selector = self._checked_selector()
        attempt = selector.begin(
            messages,
            needs=needs,
            key=key,
            policy_set=policy_set,
            policies=policies,
            min_probability=min_probability,
            timeout=timeout,
            strict=strict,
        )
        if isinstance(attempt, Selection):
            return attempt
        try:
            decision = await self._decide(attempt.request, attempt.timeout)
        except Exception as error:  # noqa: BLE001 (select must not fail its caller, whatever happens)
            return selector.failed(attempt, error)
        except BaseException:
            selector.abandoned()
            raise
        return selector.answered(attempt, decision)

    async def report(
        self,
        selection: Selection,
        *,
        reward: float | None = None,
        latency: float | None = None,
        model: str | None = None,
    ) -> None:
        """Tells how a selected model did."""
        # In a thread, because rewards may be kept in a file.
        await asyncio.to_thread(
            self._checked_selector().report, selection, reward=reward, latency=latency, model=model
        )

    async def route_stream(
        self,
        requests: Iterable[tuple[str, RouteRequest]] | AsyncIterable[tuple[str, RouteRequest]],
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Decides many conversations over one stream. `requests` may be an async iterable too."""
        seconds = math.inf if timeout is None else self._endpoint.seconds(timeout)
        answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        session = StreamSession(self._endpoint, seconds, answers.put_nowait)
        call = self._methods().RouteStream(
            session.sending_async(requests), timeout=grpc_timeout(seconds), metadata=trace_metadata()
        )
        reader = asyncio.create_task(session.receiving_async(call))
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        session.raise_failure()

    async def list_policy_sets(self, *, timeout: float | None = None) -> tuple[PolicySetSummary, ...]:
        """Names the policy sets that the server holds, in the order of their names."""
        response = await self._call(
            self._methods().ListPolicySets, router_pb2.ListPolicySetsRequest(), timeout
        )
        return tuple(PolicySetSummary.from_message(each) for each in response.policy_sets)

    async def get_policy_set(self, name: str = "", *, timeout: float | None = None) -> PolicySet:
        """Shows one policy set whole; the default set for an empty name."""
        request = router_pb2.GetPolicySetRequest(name=checked_text(name, "name"))
        response = await self._call(self._methods().GetPolicySet, request, timeout)
        return PolicySet.from_message(response.policy_set)

    async def close(self) -> None:
        """Closes the connection and cancels the calls in flight; later calls raise ValueError."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncRouter({self._endpoint.address!r})"

    def _methods(self) -> router_pb2_grpc.RouterServiceStub:
        if self._closed:
            raise ValueError(f"{self!r} is closed")
        # Late, because a channel binds itself to the event loop that it is made in.
        if self._stub is None:
            address, options = self._endpoint.address, self._endpoint.channel_options
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(address, options)
            else:
                self._channel = grpc.aio.secure_channel(address, self._credentials, options)
            self._stub = router_pb2_grpc.RouterServiceStub(self._channel)  # type: ignore[no-untyped-call]
        return self._stub

    def _checked_selector(self) -> Selector:
        if self._selector is None:
            raise invalid("selector", f"{type(self).__name__} needs one for select and report")
        return self._selector

    async def _decide(self, request: router_pb2.RouteRequest, timeout: float | None) -> Decision:
        response = await self._call(self._methods().Route, request, timeout)
        return from_response(response, self._endpoint.address)

    async def _call(self, method: Callable[..., Any], request: object, timeout: float | None) -> Any:
        seconds = self._endpoint.seconds(timeout)
        try:
            response = await method(request, timeout=grpc_timeout(seconds), metadata=trace_metadata())
        except grpc.RpcError as error:
            raise self._endpoint.error(error, seconds) from error
        # What grpc.aio gives for bytes that it cannot parse, where its twin raises.
        if response is None:
            raise ProtocolError(f"the answer from {self._endpoint.address} cannot be parsed")
        return response
