"""The client that blocks. Its asyncio twin is `archroute.async_router`."""

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from archroute.decision import Decision, from_response
from archroute.endpoint import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, ChannelOption, Endpoint, grpc_timeout
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

__all__ = ["Router"]


class Router:
    """Asks an archroute server which policy a conversation calls for.

        with archroute.Router("localhost:50051") as router:
            decision = router.route("My pod keeps restarting", policy_set="llm-gateway")

    Connects on the first call, reconnects by itself, and may be shared between threads. Close it when done,
    or use it in a `with` statement.

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
        """Opens no connection yet.

        Args:
            address: `host:port`, or any gRPC target, such as `unix:/run/archroute.sock`. Calls to
                `dns:///host:port` take turns between the addresses that the name has.
            timeout: Seconds that a call may take if it does not say; `math.inf` for no limit.
            credentials: For TLS, `grpc.ssl_channel_credentials()`. None sends plain text.
            options: gRPC channel options, over those of this package.
            selector: What `select` goes by and remembers. Not needed for anything else.

        Raises:
            InvalidRequestError: The address or the timeout is none.
        """
        self._endpoint = Endpoint.checked(address, timeout, options)
        self._selector = selector
        arguments = (self._endpoint.address, self._endpoint.channel_options)
        if credentials is None:
            self._channel = grpc.insecure_channel(*arguments)
        else:
            self._channel = grpc.secure_channel(arguments[0], credentials, arguments[1])
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def route(
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
        """Decides one conversation.

        Args:
            messages: Messages as OpenAI writes them, oldest first, or the text of a single user message.
            policy_set: The name of a policy set on the server. With neither this nor `policies`, its default.
            policies: The policies themselves, instead of `policy_set`.
            top_k: How many entries of the ranking to return, best first. 0 returns all.
            min_probability: Below this, from 0 to 1, the outcome is `LOW_CONFIDENCE` and no policy is named.
            session_id: Names the conversation, so that the turns of one can be told from another's.
            decide_by: Seconds that the server may take to decide; None for no limit. When they run out the
                outcome is `FALLBACK`, with the policy set's default policy. Give `timeout` more than that.
            timeout: Seconds that the call may take; None for the client's own, `math.inf` for no limit.
        """
        request = RouteRequest(
            messages=messages,
            policy_set=policy_set,
            policies=policies,
            top_k=top_k,
            min_probability=min_probability,
            session_id=session_id,
            decide_by=decide_by,
        )
        return self._decide(to_request(request), timeout)

    def select(
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
        """Chooses the model to send a conversation to.

        Whatever happens to the router, or is wrong with the request, there is a selection: of the declared
        default, with the reason. All that is raised is an error for a client that was built without a
        `selector`.

        Args:
            messages: As for `route`.
            needs: What the model must be able to do, beyond what the messages show: images, tool results,
                length.
            key: Names the session, for stickiness and for `weighted`. By default it is derived from the
                system prompt and the first user message.
            policy_set: As for `route`.
            policies: As for `route`.
            min_probability: As for `route`.
            timeout: Seconds that asking the router may take; None for the selector's own.
            strict: Raises what would make a selection of the default: an `ArchrouteError` if the router
                failed, was not asked, or no model fits. If the router says that no policy fits, that is no
                failure.
        """
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
            decision = self._decide(attempt.request, attempt.timeout)
        except Exception as error:  # noqa: BLE001 (select must not fail its caller, whatever happens)
            return selector.failed(attempt, error)
        except BaseException:
            selector.abandoned()
            raise
        return selector.answered(attempt, decision)

    def report(
        self,
        selection: Selection,
        *,
        reward: float | None = None,
        latency: float | None = None,
        model: str | None = None,
    ) -> None:
        """Tells how a selected model did, for the strategies `bandit` and `fastest` to learn from.

        Args:
            selection: What `select` returned.
            reward: How good it was, from 0 to 1.
            latency: Seconds that it took.
            model: Which one it was, if not the first but one of the alternatives.

        Raises:
            InvalidRequestError: A number is out of its range, or the model is none of the selection's.
        """
        self._checked_selector().report(selection, reward=reward, latency=latency, model=model)

    def route_stream(
        self, requests: Iterable[tuple[str, RouteRequest]], *, timeout: float | None = None
    ) -> Iterator[Answer]:
        """Decides many conversations over one stream.

        Yields each request's id with its decision, or with the error that concerns it alone, as they come,
        which may be in another order. Raises what ends the stream, such as a lost connection, or an error of
        `requests`, once what was sent before it is answered.

        Args:
            requests: Pairs of an id, unique among those that wait, and a request. Read from another thread.
            timeout: Seconds that the whole stream may take. None for no limit, since its length is yours.
        """
        seconds = math.inf if timeout is None else self._endpoint.seconds(timeout)
        answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        session = StreamSession(self._endpoint, seconds, answers.put)
        call = self._stub.RouteStream(
            session.sending(requests), timeout=grpc_timeout(seconds), metadata=trace_metadata()
        )
        # A daemon, so that a stream which is never read to its end does not keep the process alive.
        reader = threading.Thread(
            target=session.receiving, args=(call,), name="archroute-stream", daemon=True
        )
        reader.start()
        try:
            yield from iter(answers.get, None)
        finally:
            call.cancel()
            reader.join()
        session.raise_failure()

    def list_policy_sets(self, *, timeout: float | None = None) -> tuple[PolicySetSummary, ...]:
        """Names the policy sets that the server holds, in the order of their names."""
        response = self._call(self._stub.ListPolicySets, router_pb2.ListPolicySetsRequest(), timeout)
        return tuple(PolicySetSummary.from_message(each) for each in response.policy_sets)

    def get_policy_set(self, name: str = "", *, timeout: float | None = None) -> PolicySet:
        """Shows one policy set whole; the default set for an empty name."""
        request = router_pb2.GetPolicySetRequest(name=checked_text(name, "name"))
        response = self._call(self._stub.GetPolicySet, request, timeout)
        return PolicySet.from_message(response.policy_set)

    def close(self) -> None:
        """Closes the connection and cancels the calls in flight; later calls raise ValueError."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Router({self._endpoint.address!r})"

    def _checked_selector(self) -> Selector:
        if self._selector is None:
            raise invalid("selector", f"{type(self).__name__} needs one for select and report")
        return self._selector

    def _decide(self, request: router_pb2.RouteRequest, timeout: float | None) -> Decision:
        response = self._call(self._stub.Route, request, timeout)
        return from_response(response, self._endpoint.address)

    def _call(self, method: Callable[..., Any], request: object, timeout: float | None) -> Any:
        seconds = self._endpoint.seconds(timeout)
        try:
            return method(request, timeout=grpc_timeout(seconds), metadata=trace_metadata())
        except grpc.RpcError as error:
            raise self._endpoint.error(error, seconds) from error
