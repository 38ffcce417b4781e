"""The service on gRPC: bytes in, bytes or a status out."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from archroute.v1 import policy_sets_pb2, router_pb2
from archroute_server.rpc.access import current_caller, request_id
from archroute_server.rpc.policy_set_service import PolicySetService
from archroute_server.rpc.service import RouterService
from archroute_server.rpc.settle import Context, settle
from archroute_server.rpc.status import Failure
from archroute_server.rpc.stream import RouteStream
from archroute_server.rpc.wire import check_size, parse
from archroute_server.telemetry.access_log import STREAM_EVENT, AccessEntry, AccessLog

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Respond = Callable[[Request, AccessEntry, float | None], Coroutine[Any, Any, Response]]

SERVICE_NAME: str = router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name
POLICY_SET_SERVICE_NAME: str = policy_sets_pb2.DESCRIPTOR.services_by_name["PolicySetService"].full_name


class RouterServicer:
    """Puts both services behind gRPC and knows which calls are under way."""

    def __init__(
        self,
        service: RouterService,
        policy_sets: PolicySetService,
        access_log: AccessLog,
        *,
        max_message_bytes: int,
        stream_concurrency: int,
    ) -> None:
        self._service = service
        self._policy_sets = policy_sets
        self._access_log = access_log
        self._max_message_bytes = max_message_bytes
        self._stream_concurrency = stream_concurrency
        self._calls: set[Context] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._idle_since = -math.inf

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the methods as gRPC takes them. Requests arrive as bytes: see `rpc.wire`."""
        return self._router_handler(), self._policy_sets_handler()

    def _policy_sets_handler(self) -> grpc.GenericRpcHandler:
        service = self._policy_sets
        return grpc.method_handlers_generic_handler(
            POLICY_SET_SERVICE_NAME,
            {
                "ValidatePolicySet": self._unary(
                    "ValidatePolicySet",
                    policy_sets_pb2.ValidatePolicySetRequest,
                    service.validate_policy_set,
                ),
                "PutPolicySet": self._unary(
                    "PutPolicySet", policy_sets_pb2.PutPolicySetRequest, service.put_policy_set
                ),
                "DeletePolicySet": self._unary(
                    "DeletePolicySet", policy_sets_pb2.DeletePolicySetRequest, service.delete_policy_set
                ),
            },
        )

    def _router_handler(self) -> grpc.GenericRpcHandler:
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

    async def quiet(self, seconds: float) -> None:
        """Return once no call has been under way for `seconds`."""
        await self._idle.wait()
        while (left := self._idle_since + seconds - time.monotonic()) > 0:
            await asyncio.sleep(left)
            await self._idle.wait()

    def _unary(
        self, method: str, request_type: type[Request], respond: Respond[Request, Response]
    ) -> "grpc.RpcMethodHandler[bytes, Response]":  # generic in its type hints alone
        async def handle(data: bytes, context: Context) -> Response:
            self._track(context)
            caller = current_caller()
            metadata = tuple(context.invocation_metadata() or ())
            entry = self._access_log.entry(
                method, caller=caller.name, metadata=metadata, request_id=request_id(metadata)
            )

            async def answer() -> Response:
                with caller.request():
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
        caller = current_caller()
        metadata = tuple(context.invocation_metadata() or ())
        stream_id = request_id(metadata)
        entry = self._access_log.entry(
            "RouteStream", event=STREAM_EVENT, caller=caller.name, metadata=metadata, stream_id=stream_id
        )
        stream = RouteStream(
            self._service,
            self._access_log,
            context,
            caller,
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
            self._idle_since = time.monotonic()
            self._idle.set()
