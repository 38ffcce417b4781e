"""The service on gRPC: bytes in, bytes or a status out."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from archroute.v1 import router_pb2
from archroute_server.rpc.service import RouterService
from archroute_server.rpc.settle import Context, settle
from archroute_server.rpc.status import Failure
from archroute_server.rpc.stream import RouteStream
from archroute_server.rpc.wire import check_size, parse
from archroute_server.telemetry.access_log import STREAM_EVENT, AccessEntry, AccessLog
from archroute_server.telemetry.tracing import Metadata

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Respond = Callable[[Request, AccessEntry, float | None], Coroutine[Any, Any, Response]]

SERVICE_NAME: str = router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name
REQUEST_ID_KEY = "x-request-id"


class RouterServicer:
    """Puts a `RouterService` behind gRPC and knows which calls are under way."""

    def __init__(
        self,
        service: RouterService,
        access_log: AccessLog,
        *,
        max_message_bytes: int,
        stream_concurrency: int,
    ) -> None:
        self._service = service
        self._access_log = access_log
        self._max_message_bytes = max_message_bytes
        self._stream_concurrency = stream_concurrency
        self._calls: set[Context] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the methods as gRPC takes them. Requests arrive as bytes: see `rpc.wire`."""
        service = self._service
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "Route": self._unary("Route", router_pb2.RouteRequest, service.route),
                "RouteStream": grpc.stream_stream_rpc_method_handler(
                    self._route_stream, response_serializer=router_pb2.RouteStreamResponse.SerializeToString
                ),
                "ListPolicySets": self._unary(
                    "ListPolicySets", router_pb2.ListPolicySetsRequest, service.list_policy_sets
                ),
                "GetPolicySet": self._unary(
                    "GetPolicySet", router_pb2.GetPolicySetRequest, service.get_policy_set
                ),
            },
        )

    async def idle(self) -> None:
        """Return once no call is under way, its answer sent."""
        await self._idle.wait()

    def _unary(
        self, method: str, request_type: type[Request], respond: Respond[Request, Response]
    ) -> "grpc.RpcMethodHandler[bytes, Response]":  # generic in its type hints alone
        async def handle(data: bytes, context: Context) -> Response:
            self._track(context)
            metadata = _metadata(context)
            entry = self._access_log.entry(method, metadata=metadata, request_id=_request_id(metadata))

            async def answer() -> Response:
                check_size(len(data), self._max_message_bytes)
                return await respond(parse(request_type, data), entry, context.time_remaining())

            result = await settle(answer(), entry, context)
            if isinstance(result, Failure):
                await result.abort(context)
            return result

        return grpc.unary_unary_rpc_method_handler(
            handle, response_serializer=lambda response: response.SerializeToString()
        )

    async def _route_stream(self, messages: AsyncIterator[bytes], context: Context) -> None:
        self._track(context)
        metadata = _metadata(context)
        stream_id = _request_id(metadata)
        entry = self._access_log.entry(
            "RouteStream", event=STREAM_EVENT, metadata=metadata, stream_id=stream_id
        )
        stream = RouteStream(
            self._service,
            self._access_log,
            context,
            entry.trace,
            stream_id=stream_id,
            concurrency=self._stream_concurrency,
            max_message_bytes=self._max_message_bytes,
        )

        async def answer() -> None:
            try:
                await stream.run(aiter(messages))
            finally:
                entry.add(requests=stream.requests)

        result = await settle(answer(), entry, context)
        if isinstance(result, Failure):
            await result.abort(context)

    def _track(self, context: Context) -> None:
        self._calls.add(context)
        self._idle.clear()
        # A plain callable is right; the type hints of the package name a class that does not exist.
        context.add_done_callback(self._untrack)  # type: ignore[arg-type]

    def _untrack(self, ctx: Context) -> None:
        self._calls.discard(ctx)
        if not self._calls:
            self._idle.set()


def _metadata(context: Context) -> Metadata:
    """Return what came with the call."""
    return tuple(context.invocation_metadata() or ())


def _request_id(metadata: Metadata) -> str:
    """Return the id that the caller gave the call in its metadata, or a new one."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and value:
            return value
    return uuid.uuid4().hex
