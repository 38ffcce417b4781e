"""The door: a call is let in, with its caller known, or refused before anything is done for it."""

import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc

from archroute_server.access.caller import Caller
from archroute_server.access.control import AccessControl
from archroute_server.access.errors import AccessDenied
from archroute_server.rpc.settle import Context, fail
from archroute_server.telemetry.access_log import REQUEST_EVENT, STREAM_EVENT, AccessLog

AUTHORIZATION_KEY = "authorization"
REQUEST_ID_KEY = "x-request-id"

if TYPE_CHECKING:  # generic in its type hints alone
    Handler = grpc.RpcMethodHandler[Any, Any]

Metadata = Iterable[tuple[str, str | bytes]]
Behavior = Callable[[Any, Context], Any]

_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return who makes the call that is being handled."""
    return _caller.get()


def request_id(metadata: Metadata | None) -> str:
    """Return the id that the caller gave the call in its metadata, or a new one."""
    for key, value in metadata or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and value:
            return value
    return uuid.uuid4().hex


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Asks an `AccessControl` about each call of each service. Who is refused gets a line in the log."""

    def __init__(self, control: AccessControl, access_log: AccessLog) -> None:
        self._control = control
        self._access_log = access_log

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the method's handler behind the door; gRPC says UNIMPLEMENTED if there is none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        def behind_the_door(behavior: Behavior) -> Behavior:
            # gRPC tells the two kinds apart in the same way.
            if inspect.isasyncgenfunction(behavior):

                async def yielding(request: Any, context: Context) -> AsyncIterator[Any]:
                    await self._let_in(method, context)
                    async with aclosing(behavior(request, context)) as responses:
                        async for response in responses:
                            yield response

                return yielding

            async def returning(request: Any, context: Context) -> Any:
                await self._let_in(method, context)
                return await behavior(request, context)

            return returning

        return _with_behavior(handler, behind_the_door)

    async def _let_in(self, method: str, context: Context) -> None:
        """Set the current caller, or end the call."""
        metadata = tuple(context.invocation_metadata() or ())
        authorizations = [str(value) for key, value in metadata if key == AUTHORIZATION_KEY]
        try:
            _caller.set(self._control.admit(method, authorizations, context.peer()))
        except AccessDenied as error:
            name = method.rpartition("/")[2]
            event = STREAM_EVENT if name == "RouteStream" else REQUEST_EVENT
            entry = self._access_log.entry(
                name, event=event, metadata=metadata, request_id=request_id(metadata)
            )
            await fail(error, entry).abort(context)


def _with_behavior(handler: "Handler", change: Callable[[Behavior], Behavior]) -> "Handler":
    """Return the handler with its function changed; it has one of four, by who sends one message or many."""
    for kind, make in (
        ("unary_unary", grpc.unary_unary_rpc_method_handler),
        ("unary_stream", grpc.unary_stream_rpc_method_handler),
        ("stream_unary", grpc.stream_unary_rpc_method_handler),
        ("stream_stream", grpc.stream_stream_rpc_method_handler),
    ):
        behavior = getattr(handler, kind)
        if behavior is not None:
            made: Handler = make(change(behavior), handler.request_deserializer, handler.response_serializer)
            return made
    raise ValueError("the handler has no function")
