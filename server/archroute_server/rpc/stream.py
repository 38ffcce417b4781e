"""One RouteStream call: requests in, answers out as they finish."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from archroute.v1 import router_pb2
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.rpc.errors import CallError, ServerStopping
from archroute_server.rpc.service import RouterService
from archroute_server.rpc.settle import Context, settle
from archroute_server.rpc.status import Failure
from archroute_server.rpc.wire import check_size, parse
from archroute_server.telemetry.access_log import AccessEntry, AccessLog
from archroute_server.telemetry.tracing import RequestTrace


class RouteStream:
    """Decides the requests of one stream, at most `concurrency` at a time.

    While that many are under way nothing is read, so gRPC's flow control slows the caller down.
    """

    def __init__(
        self,
        service: RouterService,
        access_log: AccessLog,
        context: Context,
        trace: RequestTrace,
        *,
        stream_id: str,
        concurrency: int,
        max_message_bytes: int,
    ) -> None:
        self._service = service
        self._access_log = access_log
        self._context = context
        self._trace = trace
        self._stream_id = stream_id
        self._max_message_bytes = max_message_bytes
        self._slots = asyncio.Semaphore(concurrency)
        self._in_flight: set[str] = set()
        self._writing = asyncio.Lock()  # gRPC takes one message at a time
        self.requests = 0

    async def run(self, messages: AsyncIterator[bytes]) -> None:
        """Answer until the caller has no more requests, then until the last answer is sent.

        Raises `MalformedRequest` for bytes that do not parse, since without its id a request cannot be
        answered in its place, and `ServerStopping`; both after the answers under way are sent.
        """
        ended_by: CallError | None = None
        stopping = asyncio.create_task(self._service.stopping.wait())
        try:
            async with asyncio.TaskGroup() as answers:
                while True:
                    await self._slots.acquire()
                    try:
                        data = await _next(messages, stopping)
                        if data is None:
                            break
                        message = parse(router_pb2.RouteStreamRequest, data)
                    except CallError as error:
                        ended_by = error
                        break
                    self.requests += 1
                    answers.create_task(self._answer(message, len(data), self._claim(message.request_id)))
        finally:
            stopping.cancel()
        if ended_by is not None:
            raise ended_by

    def _claim(self, request_id: str) -> Violation | None:
        """Mark the id as in flight, or say why it cannot be."""
        if not request_id:
            return Violation("request_id", "is empty; give each request of a stream an id of its own")
        if request_id in self._in_flight:
            return Violation("request_id", "is the id of a request that is still in flight; choose another")
        self._in_flight.add(request_id)
        return None

    async def _answer(
        self, message: router_pb2.RouteStreamRequest, size: int, refused: Violation | None
    ) -> None:
        entry = self._access_log.entry(
            "RouteStream", within=self._trace, request_id=message.request_id, stream_id=self._stream_id
        )
        try:
            result = await settle(self._decide(message, size, refused, entry), entry, self._context)
            if refused is None:
                # Before it is written: whoever reads the answer may use the id again.
                self._in_flight.discard(message.request_id)
            response = router_pb2.RouteStreamResponse(request_id=message.request_id)
            if isinstance(result, Failure):
                response.error.CopyFrom(result.to_route_error())
            else:
                response.response.CopyFrom(result)
            await self._write(response)
        finally:
            self._slots.release()

    async def _decide(
        self,
        message: router_pb2.RouteStreamRequest,
        size: int,
        refused: Violation | None,
        entry: AccessEntry,
    ) -> router_pb2.RouteResponse:
        if refused is not None:
            raise InvalidRequest(refused)
        check_size(size, self._max_message_bytes)
        return await self._service.route(message.request, entry, self._context.time_remaining())

    async def _write(self, response: router_pb2.RouteStreamResponse) -> None:
        async with self._writing:
            try:
                await self._context.write(response)
            except grpc.aio.BaseError:
                # The caller is gone. gRPC cancels the whole call; until then there is nobody to tell.
                return


async def _next(messages: AsyncIterator[bytes], stopping: asyncio.Task[bool]) -> bytes | None:
    """Return the next message, or None after the last. Raises `ServerStopping` if that comes first."""
    read = asyncio.ensure_future(anext(messages, None))
    try:
        await asyncio.wait({read, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not read.done():
            read.cancel()
    if stopping.done():
        raise ServerStopping
    return read.result()
