"""The client that blocks. Its asyncio twin is `archroute.openai.async_routed_client`."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, cast, overload

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from archroute.openai.answers import checked_completion, unreadable
from archroute.openai.arguments import RoutingOptions, check_arguments, readable_messages, select_options
from archroute.openai.connections import Connections
from archroute.openai.failover import Failover
from archroute.openai.resting import Resting
from archroute.openai.routed import Attempt, Routed
from archroute.openai.routed_stream import RoutedStream
from archroute.openai.settings import Settings
from archroute.router import Router
from archroute.selection.model import Model
from archroute.selection.selection import Selection

__all__ = ["Chat", "Completions", "RoutedOpenAI"]


class RoutedOpenAI:
    """Calls the chat completions of OpenAI-compatible endpoints, with the model that a router selects.

        with RoutedOpenAI(router) as client:
            completion = client.chat.completions.create(messages=messages, temperature=0)

    May be shared between threads. Close it when done, or use it in a `with` statement; the router stays open.
    """

    def __init__(
        self,
        router: Router,
        *,
        clients: Mapping[str, openai.OpenAI] | None = None,
        routing: RoutingOptions | None = None,
        timeout: float = 60.0,
        patience: float = 2.0,
        report_latency: bool = True,
        failure_reward: float | None = None,
    ) -> None:
        """Opens no connection yet.

        Args:
            router: Built with a selector. The model map of that says where models are called: `providers`.
            clients: Official clients to use, by the provider's name, instead of those that the model map
                describes; that of the empty name is for models without a provider. They stay open. Retries of
                their own are turned off, since another model answers sooner.
            routing: For every call that does not say otherwise.
            timeout: Seconds of silence after which a model is given up, if neither the call nor the client
                given for it says otherwise.
            patience: Seconds that a call may wait, in all, for models that said when to come back
                (`Retry-After`), if no other model is left.
            report_latency: Whether the seconds that each answer took are reported to the router, for the
                strategy `fastest`. Of a stream they are those until its first chunk.
            failure_reward: What is reported, from 0 to 1, for a model that failed, for the strategy `bandit`;
                None for nothing.

        Raises:
            InvalidRequestError: The router has no selector, or a number is out of its range.
            ModelMapError: A model of the map has no provider, or the key of a provider is not set.
        """
        settings = Settings.checked(router.selector, timeout, patience, report_latency, failure_reward)
        given = {name: each.with_options(max_retries=0) for name, each in (clients or {}).items()}
        self._connections: Connections[openai.OpenAI] = Connections(
            given,
            lambda provider, key: openai.OpenAI(
                base_url=provider.base_url, api_key=key, timeout=settings.timeout, max_retries=0
            ),
        )
        self._connections.check(settings.selector.models)
        self.chat = Chat(Completions(router, self._connections, settings, routing or {}))
        """As `openai.OpenAI.chat`, with nothing but `completions.create`."""

    def close(self) -> None:
        """Closes the connections, except those of clients that were given."""
        for client in self._connections.made():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Chat:
    """What `chat` of a client is."""

    def __init__(self, completions: "Completions") -> None:
        self.completions = completions
        """Where `create` is."""


class Completions:
    """What `chat.completions` of a client is."""

    def __init__(
        self,
        router: Router,
        connections: Connections[openai.OpenAI],
        settings: Settings,
        routing: RoutingOptions,
    ) -> None:
        self._router = router
        self._connections = connections
        self._settings = settings
        self._routing = routing
        self._resting = Resting()

    @overload
    def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[True],
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> RoutedStream: ...

    @overload
    def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[False] | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> ChatCompletion: ...

    def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: bool | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> ChatCompletion | RoutedStream:
        """Asks the model that the router selects, and if it fails the next one.

        The next one is asked after a timeout, a broken connection, an answer that cannot be read, and the
        statuses 408, 429 and all from 500 on. A model that said when to come back (`Retry-After`) is left
        alone until then. A stream can go over to another model only before its first chunk.

        Args:
            messages: As `openai.OpenAI` takes them.
            stream: Whether to return chunks as they come.
            routing: What `Router.select` is to go by besides the messages.
            arguments: Any other arguments of `openai.OpenAI.chat.completions.create`, but `model`. Tools, a
                JSON format and a limit of the reply's tokens are taken for needs of the model.

        Raises:
            InvalidRequestError: There is a `model` among the arguments, or an unknown routing option.
            openai.APIError: As the official client raises it: of the last model that was asked, if all
                failed, with a note that names all of them.
            ModelMapError: Likewise, if the model map does not say how to call that model.
        """
        result: ChatCompletion | RoutedStream = self._routed(messages, stream, routing, arguments).result
        return result

    @overload
    def create_with_selection(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[True],
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> Routed[RoutedStream]: ...

    @overload
    def create_with_selection(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[False] | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> Routed[ChatCompletion]: ...

    def create_with_selection(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: bool | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> Routed[ChatCompletion] | Routed[RoutedStream]:
        """As `create`, and says which model it was, why, and which ones failed before."""
        return self._routed(messages, stream, routing, arguments)

    def _routed(
        self,
        messages: Iterable[Any],
        stream: bool | None,
        routing: RoutingOptions | None,
        arguments: Mapping[str, Any],
    ) -> Routed[Any]:
        check_arguments(messages, arguments)
        # Read more than once, which an iterator cannot be.
        kept = list(messages)
        options = select_options(arguments, self._routing, routing)
        selection = self._router.select(readable_messages(kept), **options)
        failover = Failover(selection, self._resting, patience=self._settings.patience)
        while True:
            step = failover.next_step()
            if step.wait:
                time.sleep(step.wait)
            try:
                result = self._ask(step.model, {**arguments, "messages": kept}, stream)
            except Exception as error:  # noqa: BLE001 (`failed` raises what is not for another model to mend)
                self._report(selection, failover.failed(step.model, error))
            else:
                routed = failover.answered(step.model, result)
                self._report(selection, routed.attempts[-1])
                return routed

    def _ask(
        self, model: Model, arguments: dict[str, Any], stream: bool | None
    ) -> ChatCompletion | RoutedStream:
        client = self._connections.of(model, self._settings.selector.models)
        create = client.chat.completions.with_raw_response.create
        raw = create(model=model.endpoint, stream=bool(stream), **arguments)
        if stream:
            return RoutedStream.opened(cast("openai.Stream[ChatCompletionChunk]", raw.parse()))
        try:
            return checked_completion(raw.parse(), raw.http_response)
        except ValueError:  # it is no JSON; without the cause, which holds the text
            raise unreadable(raw.http_response) from None

    def _report(self, selection: Selection, attempt: Attempt) -> None:
        report = self._settings.report_of(attempt)
        if report:
            self._router.report(selection, model=attempt.model.name, **report)
