"""A hand-written service on a real socket, and both clients behind one face."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from archroute import AsyncRouter, Router
from archroute.v1 import policy_sets_pb2, policy_sets_pb2_grpc, router_pb2, router_pb2_grpc


class FakeService(router_pb2_grpc.RouterServiceServicer):
    """Answers with what a test puts into its attributes, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.remaining: list[float | None] = []
        self.answer: Callable[[router_pb2.RouteRequest, grpc.ServicerContext], router_pb2.RouteResponse] = (
            lambda request, context: matched("code_generation")
        )
        self.answers: Callable[[Iterator[router_pb2.RouteStreamRequest], grpc.ServicerContext], Any] = (
            lambda requests, context: (answered(each) for each in requests)
        )

    def _remember(self, request: object, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.remaining.append(context.time_remaining())

    def Route(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._remember(request, context)
        return self.answer(request, context)

    def RouteStream(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
        self.remaining.append(context.time_remaining())
        return self.answers(request_iterator, context)

    def ListPolicySets(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._remember(request, context)
        summary = router_pb2.PolicySetSummary(
            name="gateway", revision="sha256:1", policy_count=2, is_default=True
        )
        return router_pb2.ListPolicySetsResponse(policy_sets=[summary])

    def GetPolicySet(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._remember(request, context)
        policy = router_pb2.Policy(name="code", description="Writing code", models=["a", "b"])
        return router_pb2.GetPolicySetResponse(
            policy_set=router_pb2.PolicySet(
                name=request.name or "gateway", revision="sha256:1", policies=[policy]
            )
        )


class FakePolicySetService(policy_sets_pb2_grpc.PolicySetServiceServicer):
    """Finds one warning, stores everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def ValidatePolicySet(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        return policy_sets_pb2.ValidatePolicySetResponse(
            findings=[
                policy_sets_pb2.Finding(
                    severity=policy_sets_pb2.SEVERITY_WARNING,
                    code="NAMES_ALIKE",
                    field="policies[1].name",
                    description="is almost policies[0].name",
                )
            ],
            revision="sha256:1",
            prompt_tokens=100,
            max_prompt_tokens=4096,
        )

    def PutPolicySet(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        stored = router_pb2.PolicySet()
        stored.CopyFrom(request.policy_set)
        stored.revision, stored.stored = "sha256:2", True
        return policy_sets_pb2.PutPolicySetResponse(policy_set=stored)

    def DeletePolicySet(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        return policy_sets_pb2.DeletePolicySetResponse()


def matched(policy: str) -> router_pb2.RouteResponse:
    return router_pb2.RouteResponse(policy=policy, outcome=router_pb2.OUTCOME_MATCHED, probability=0.75)


def answered(request: router_pb2.RouteStreamRequest) -> router_pb2.RouteStreamResponse:
    """An answer whose policy says which request it belongs to."""
    return router_pb2.RouteStreamResponse(
        request_id=request.request_id, response=matched(f"for-{request.request_id}")
    )


class FakeServer:
    """A gRPC server on a free port of the loopback interface."""

    def __init__(self, *handlers: grpc.GenericRpcHandler) -> None:
        self.service = FakeService()
        self.policy_sets = FakePolicySetService()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        if handlers:
            self._server.add_generic_rpc_handlers(handlers)
        else:
            router_pb2_grpc.add_RouterServiceServicer_to_server(self.service, self._server)
            policy_sets_pb2_grpc.add_PolicySetServiceServicer_to_server(self.policy_sets, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Returns when the port is free and every call in flight is broken off."""
        self._server.stop(None).wait()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def service(server: FakeServer) -> FakeService:
    return server.service


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], FakeServer]]:
    """Starts servers that answer every call and every message of a stream with the same bytes."""
    servers: list[FakeServer] = []

    def start(answer: bytes) -> FakeServer:
        unary = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)
        stream = grpc.stream_stream_rpc_method_handler(lambda requests, context: (answer for _ in requests))
        handlers = {"Route": unary, "RouteStream": stream}
        servers.append(
            FakeServer(grpc.method_handlers_generic_handler("archroute.v1.RouterService", handlers))
        )
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class Blocking:
    """`Router`, opened for one call."""

    def __init__(self, address: str, **options: Any) -> None:
        self._open = lambda: Router(address, **options)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        with self._open() as router:
            return getattr(router, method)(*arguments, **options)

    def stream(self, requests: Iterable[Any], seen: Callable[[Any], None], **options: Any) -> None:
        with self._open() as router:
            for answer in router.route_stream(requests, **options):
                seen(answer)


class Awaited:
    """`AsyncRouter`, opened for one call in an event loop of its own."""

    def __init__(self, address: str, **options: Any) -> None:
        self._open = lambda: AsyncRouter(address, **options)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        async def call() -> Any:
            async with self._open() as router:
                return await getattr(router, method)(*arguments, **options)

        return asyncio.run(call())

    def stream(self, requests: Iterable[Any], seen: Callable[[Any], None], **options: Any) -> None:
        async def stream() -> None:
            async with self._open() as router:
                async for answer in router.route_stream(_off_the_loop(requests), **options):
                    seen(answer)

        asyncio.run(stream())


async def _off_the_loop(requests: Iterable[Any]) -> AsyncIterator[Any]:
    # A test's iterable may wait for something, which must not keep the event loop from running.
    iterator = iter(requests)
    end = object()
    while (item := await asyncio.to_thread(next, iterator, end)) is not end:
        yield item


@pytest.fixture(params=[Blocking, Awaited])
def client(request: pytest.FixtureRequest) -> Any:
    """A client's kind: call it with an address."""
    return request.param


@pytest.fixture
def until_the_end() -> Iterator[threading.Event]:
    """Set when the test is over, for a handler that must not answer before."""
    event = threading.Event()
    yield event
    event.set()
