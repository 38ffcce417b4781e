"""The asyncio twin of `archroute.openai.routed_client`: the same methods, awaited."""

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, cast, overload

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from archroute.async_router import AsyncRouter
from archroute.openai.answers import checked_completion, unreadable
from archroute.openai.arguments import RoutingOptions, check_arguments, readable_messages, select_options
from archroute.openai.async_routed_stream import AsyncRoutedStream
from archroute.openai.connections import Connections
from archroute.openai.failover import Failover
from archroute.openai.resting import Resting
from archroute.openai.routed import Attempt, Routed
from archroute.openai.settings import Settings
from archroute.selection.model import Model
from archroute.selection.selection import Selection

__all__ = ["AsyncChat", "AsyncCompletions", "AsyncRoutedOpenAI"]


class AsyncRoutedOpenAI:
    """Calls the chat completions of OpenAI-compatible endpoints, with the model that a router selects.

        async with AsyncRoutedOpenAI(router) as client:
            completion = await client.chat.completions.create(messages=messages, temperature=0)

    Belongs to one event loop, as the router does. Close it when done, or use it in an `async with` statement;
    the router stays open. Cancelling a task cancels its call.
    """

    def __init__(
        self,
        router: AsyncRouter,
        *,
        clients: Mapping[str, openai.AsyncOpenAI] | None = None,
        routing: RoutingOptions | None = None,
        timeout: float = 60.0,
        patience: float = 2.0,
        report_latency: bool = True,
        failure_reward: float | None = None,
    ) -> None:
        """Opens no connection yet. See `RoutedOpenAI`, which documents the arguments."""
        settings = Settings.checked(router.selector, timeout, patience, report_latency, failure_reward)
        given = {name: each.with_options(max_retries=0) for name, each in (clients or {}).items()}
        self._connections: Connections[openai.AsyncOpenAI] = Connections(
            given,
            lambda provider, key: openai.AsyncOpenAI(
                base_url=provider.base_url, api_key=key, timeout=settings.timeout, max_retries=0
            ),
        )
        self._connections.check(settings.selector.models)
        self.chat = AsyncChat(AsyncCompletions(router, self._connections, settings, routing or {}))
        """As `openai.AsyncOpenAI.chat`, with nothing but `completions.create`."""

    async def close(self) -> None:
        """Closes the connections, except those of clients that were given."""
        for client in self._connections.made():
            await client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncChat:
    """What `chat` of a client is."""

    def __init__(self, completions: "AsyncCompletions") -> None:
        self.completions = completions
        """Where `create` is."""


class AsyncCompletions:
    """What `chat.completions` of a client is."""

    def __init__(
        self,
        router: AsyncRouter,
        connections: Connections[openai.AsyncOpenAI],
        settings: Settings,
        routing: RoutingOptions,
    ) -> None:
        self._router = router
        self._connections = connections
        self._settings = settings
        self._routing = routing
        self._resting = Resting()

    @overload
    async def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[True],
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> AsyncRoutedStream: ...

    @overload
    async def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[False] | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> ChatCompletion: ...

    async def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: bool | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> ChatCompletion | AsyncRoutedStream:
        """Asks the model that the router selects, and if it fails the next one. See `RoutedOpenAI`."""
        routed = await self._routed(messages, stream, routing, arguments)
        result: ChatCompletion | AsyncRoutedStream = routed.result
        return result

    @overload
    async def create_with_selection(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[True],
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> Routed[AsyncRoutedStream]: ...

    @overload
    async def create_with_selection(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: Literal[False] | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> Routed[ChatCompletion]: ...

    async def create_with_selection(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        stream: bool | None = None,
        routing: RoutingOptions | None = None,
        **arguments: Any,
    ) -> Routed[ChatCompletion] | Routed[AsyncRoutedStream]:
        """As `create`, and says which model it was, why, and which ones failed before."""
        return await self._routed(messages, stream, routing, arguments)

    async def _routed(
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
        selection = await self._router.select(readable_messages(kept), **options)
        failover = Failover(selection, self._resting, patience=self._settings.patience)
        while True:
            step = failover.next_step()
            if step.wait:
                await asyncio.sleep(step.wait)
            try:
                result = await self._ask(step.model, {**arguments, "messages": kept}, stream)
            except Exception as error:  # noqa: BLE001 (`failed` raises what is not for another model to mend)
                await self._report(selection, failover.failed(step.model, error))
            else:
                routed = failover.answered(step.model, result)
                await self._report(selection, routed.attempts[-1])
                return routed

    async def _ask(
        self, model: Model, arguments: dict[str, Any], stream: bool | None
    ) -> ChatCompletion | AsyncRoutedStream:
        client = self._connections.of(model, self._settings.selector.models)
        create = client.chat.completions.with_raw_response.create
        raw = await create(model=model.endpoint, stream=bool(stream), **arguments)
        if stream:
            return await AsyncRoutedStream.opened(
                cast("openai.AsyncStream[ChatCompletionChunk]", raw.parse())
            )
        try:
            return checked_completion(raw.parse(), raw.http_response)
        except ValueError:  # it is no JSON; without the cause, which holds the text
            raise unreadable(raw.http_response) from None

    async def _report(self, selection: Selection, attempt: Attempt) -> None:
        report = self._settings.report_of(attempt)
        if report:
            await self._router.report(selection, model=attempt.model.name, **report)
