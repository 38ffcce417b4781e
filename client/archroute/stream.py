"""Many requests over one stream: what both clients share of it."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

import grpc

from archroute.decision import Decision, from_response
from archroute.endpoint import Endpoint
from archroute.errors import ArchrouteError, InvalidRequestError, ProtocolError
from archroute.fields import checked_text, invalid
from archroute.request import RouteRequest, to_request
from archroute.status import route_failure
from archroute.v1 import router_pb2

__all__ = ["Answer", "StreamSession"]

Answer = tuple[str, Decision | ArchrouteError]
"""A request's id, with its decision or what was wrong with it."""


class StreamSession:
    """One stream, read from both ends at once, as `emit` puts the results in one line.

        requests ── sending ──> gRPC ── receiving ──> emit(answer) ... emit(None)
                       └── a request that cannot be sent ──> emit(answer)

    gRPC runs `sending` and a reader of the client's runs `receiving`: two threads, or two tasks. An id starts
    to wait before its request leaves and stops after its answer came, so neither sees the other half done.
    """

    def __init__(self, endpoint: Endpoint, seconds: float, emit: Callable[[Answer | None], object]) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._emit = emit
        self._waiting: set[str] = set()
        self._all_sent = False
        self._failure: Exception | None = None

    def raise_failure(self) -> None:
        """Raises what ended the stream early, if anything did. Call it after `emit(None)`."""
        if self._failure is not None:
            raise self._failure

    # An error of the caller's own iterator must not be raised into gRPC, which would log it and forget it. It
    # ends the requests instead; what was sent before is still answered, and then `raise_failure` tells.

    def sending(
        self, requests: Iterable[tuple[str, RouteRequest]]
    ) -> Iterator[router_pb2.RouteStreamRequest]:
        """The messages for gRPC to send."""
        try:
            for request_id, request in requests:
                yield from self._send(request_id, request)
            self._all_sent = True
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    async def sending_async(
        self, requests: Iterable[tuple[str, RouteRequest]] | AsyncIterable[tuple[str, RouteRequest]]
    ) -> AsyncIterator[router_pb2.RouteStreamRequest]:
        """The messages for gRPC to send."""
        try:
            async for request_id, request in _async(requests):
                for message in self._send(request_id, request):
                    yield message
            self._all_sent = True
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def receiving(self, responses: Iterable[router_pb2.RouteStreamResponse]) -> None:
        """Emits the answers, then None."""
        try:
            for response in responses:
                self._receive(response)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        finally:
            self._finish()

    async def receiving_async(self, responses: AsyncIterable[router_pb2.RouteStreamResponse]) -> None:
        """Emits the answers, then None."""
        try:
            async for response in responses:
                self._receive(response)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        finally:
            self._finish()

    def _send(self, request_id: str, request: RouteRequest) -> Iterator[router_pb2.RouteStreamRequest]:
        # Without an id of its own a request cannot be answered: such an error ends the stream.
        if not checked_text(request_id, "request_id"):
            raise invalid("request_id", "must not be empty")
        if request_id in self._waiting:
            raise invalid("request_id", f"{request_id!r} waits for its answer already; use each id once")
        try:
            message = to_request(request)
        except InvalidRequestError as error:
            self._emit((request_id, error))
            return
        self._waiting.add(request_id)
        yield router_pb2.RouteStreamRequest(request_id=request_id, request=message)

    def _receive(self, response: router_pb2.RouteStreamResponse | None) -> None:
        # What grpc.aio gives for bytes that it cannot parse, where its blocking twin raises.
        if response is None:
            raise ProtocolError(f"an answer from {self._endpoint.address} cannot be parsed")
        request_id = response.request_id
        if request_id not in self._waiting:
            raise ProtocolError(f"{self._endpoint.address} answered {request_id!r}, which was not asked")
        self._waiting.remove(request_id)
        self._emit((request_id, self._result(response)))

    def _result(self, response: router_pb2.RouteStreamResponse) -> Decision | ArchrouteError:
        if response.HasField("error"):
            return route_failure(response.error).error(self._endpoint.address, self._seconds)
        try:
            return from_response(response.response, self._endpoint.address)
        except ProtocolError as error:
            return error

    def _fail(self, error: Exception) -> None:
        # The first failure is the cause of those that follow it.
        if self._failure is not None:
            return
        self._failure = error
        if isinstance(error, grpc.RpcError):
            self._failure = self._endpoint.error(error, self._seconds)
            self._failure.__cause__ = error

    def _finish(self) -> None:
        if self._failure is None and (self._waiting or not self._all_sent):
            self._failure = ProtocolError(
                f"{self._endpoint.address} ended the stream with {len(self._waiting)} requests unanswered"
                + ("" if self._all_sent else " and others not sent")
            )
        self._emit(None)


async def _async(
    requests: Iterable[tuple[str, RouteRequest]] | AsyncIterable[tuple[str, RouteRequest]],
) -> AsyncIterator[tuple[str, RouteRequest]]:
    if isinstance(requests, AsyncIterable):
        async for item in requests:
            yield item
    else:
        for item in requests:
            yield item
