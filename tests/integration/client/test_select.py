"""`select` against a server on a real socket that refuses, is slow, and answers garbage.

tests/soak has the long run, through everything that can happen to a router.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

import archroute
from archroute import AsyncRouter, ModelMap, Router, Selection, Selector
from archroute import SelectionReason as Why
from archroute.selection import AnswerCache, CircuitBreaker
from archroute.v1 import router_pb2

CODE = router_pb2.RouteResponse(
    policy="code", outcome=router_pb2.OUTCOME_MATCHED, probability=0.75, models=["large"]
).SerializeToString()

PUSHBACK = "grpc-retry-pushback-ms"


class Behaviour:
    """What a server does with a call, until it is told otherwise."""

    def __init__(self) -> None:
        self.answer: Callable[[grpc.ServicerContext], bytes] = lambda context: CODE
        self.calls = 0
        self._lock = threading.Lock()
        self.released = threading.Event()

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.calls += 1
        return self.answer(context)

    def slow(self, context: grpc.ServicerContext) -> bytes:
        self.released.wait(2)
        return CODE


class Server:
    """One that can be killed, and started again at the same address."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self._port = 0
        self._server: grpc.Server | None = None
        self.start()
        self.address = f"127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        handler = grpc.unary_unary_rpc_method_handler(self.behaviour)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("archroute.v1.RouterService", {"Route": handler})]
        )
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()

    def kill(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None


@pytest.fixture
def flaky() -> Iterator[Server]:
    server = Server()
    yield server
    server.behaviour.released.set()
    server.kill()


@pytest.fixture
def selector() -> Selector:
    """Asks each time, whatever happened before."""
    return Selector(
        ModelMap("default"),
        cache=AnswerCache(entries=0),
        breaker=CircuitBreaker(failures=1_000_000),
        stickiness=None,
    )


class BlockingSelect:
    """Calls `Router.select`."""

    def __init__(self, address: str, selector: Selector) -> None:
        self._router = Router(address, selector=selector)

    def __call__(self, text: str, **options: Any) -> Selection:
        return self._router.select(text, **options)

    def close(self) -> None:
        self._router.close()


class AwaitedSelect:
    """Calls `AsyncRouter.select`, in one event loop."""

    def __init__(self, address: str, selector: Selector) -> None:
        self._runner = asyncio.Runner()
        self._router = AsyncRouter(address, selector=selector)

    def __call__(self, text: str, **options: Any) -> Selection:
        return self._runner.run(self._router.select(text, **options))

    def close(self) -> None:
        self._runner.run(self._router.close())
        self._runner.close()


@pytest.fixture(params=[BlockingSelect, AwaitedSelect])
def select(request: pytest.FixtureRequest, flaky: Server, selector: Selector) -> Iterator[Any]:
    client = request.param(flaky.address, selector)
    yield client
    client.close()


def limited(code: grpc.StatusCode, pushback: str | None, times: int) -> Callable[..., bytes]:
    """Refuses so many calls, and then answers."""
    left = [times]

    def answer(context: grpc.ServicerContext) -> bytes:
        if left[0]:
            left[0] -= 1
            if pushback is not None:
                context.set_trailing_metadata(((PUSHBACK, pushback),))
            context.abort(code, "not now")
        return CODE

    return answer


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_may_pass_is_tried_again(flaky: Server, select: Any, code: grpc.StatusCode) -> None:
    flaky.behaviour.answer = limited(code, None, times=2)
    assert select("hi", timeout=30).reason is Why.ANSWERED
    assert flaky.behaviour.calls == 3


def test_what_will_not_pass_is_not_tried_again(flaky: Server, select: Any) -> None:
    flaky.behaviour.answer = limited(grpc.StatusCode.INTERNAL, None, times=1)
    assert select("hi", timeout=30).reason is Why.SERVER_ERROR
    assert flaky.behaviour.calls == 1


def test_a_server_that_says_when_is_asked_then(flaky: Server, select: Any) -> None:
    flaky.behaviour.answer = limited(grpc.StatusCode.UNAVAILABLE, "1", times=1)
    assert select("hi", timeout=30).reason is Why.ANSWERED
    assert flaky.behaviour.calls == 2


def test_a_server_that_says_never_is_not_asked_again(flaky: Server, select: Any) -> None:
    flaky.behaviour.answer = limited(grpc.StatusCode.UNAVAILABLE, "-1", times=1)
    assert select("hi", timeout=30).reason is Why.UNAVAILABLE
    assert flaky.behaviour.calls == 1


def test_waiting_for_the_server_ends_with_the_deadline(flaky: Server, select: Any) -> None:
    # Ten minutes from now, which is no use to a call that has three seconds.
    flaky.behaviour.answer = limited(grpc.StatusCode.UNAVAILABLE, "600000", times=1)
    assert select("hi", timeout=3).reason in (Why.DEADLINE_EXCEEDED, Why.UNAVAILABLE)
    assert flaky.behaviour.calls == 1


def test_a_selection_has_a_deadline_of_its_own(flaky: Server, select: Any) -> None:
    remaining: list[float] = []

    def answer(context: grpc.ServicerContext) -> bytes:
        remaining.append(context.time_remaining())
        return CODE

    flaky.behaviour.answer = answer
    select("hi")
    select("hi", timeout=300)
    assert remaining[0] < 5 < 60 < remaining[1]


def test_cancelling_a_task_cancels_its_selection(flaky: Server) -> None:
    breaker = CircuitBreaker(failures=1, seconds=10_000)
    selector = Selector(ModelMap("default"), breaker=breaker)
    asked = threading.Event()

    def answer(context: grpc.ServicerContext) -> bytes:
        asked.set()
        return flaky.behaviour.slow(context)

    async def cancelled() -> bool:
        async with AsyncRouter(flaky.address, selector=selector) as router:
            task = asyncio.create_task(router.select("hi", timeout=300))
            await asyncio.to_thread(asked.wait)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    flaky.behaviour.answer = answer
    assert asyncio.run(cancelled())
    # A caller that goes away says nothing of the router, nor was anything selected.
    assert breaker.allows(0)
    assert selector.counters.snapshot().selections == 0


GARBAGE = b"\xff\xff\xff\xff"


@pytest.mark.timeout(300)
def test_many_threads_and_a_circuit(flaky: Server) -> None:
    selector = Selector(
        ModelMap("default"), cache=AnswerCache(entries=0), breaker=CircuitBreaker(failures=5, seconds=1_000)
    )
    flaky.behaviour.answer = lambda context: GARBAGE
    with Router(flaky.address, selector=selector) as router, futures.ThreadPoolExecutor(8) as pool:
        selections = list(pool.map(lambda n: router.select(f"text {n}", timeout=60), range(400)))
    reasons = Counter(each.reason for each in selections)
    assert reasons.keys() == {Why.PROTOCOL_ERROR, Why.CIRCUIT_OPEN}
    # Each thread may have been asking already when the fifth failure came.
    assert 5 <= reasons[Why.PROTOCOL_ERROR] <= 5 + 7
    assert flaky.behaviour.calls == selector.counters.snapshot().calls == reasons[Why.PROTOCOL_ERROR]


def test_a_closed_client_selects_the_default(flaky: Server, selector: Selector) -> None:
    router = Router(flaky.address, selector=selector)
    router.close()
    selection = router.select("hi")
    assert (selection.model.name, selection.reason) == ("default", Why.CLIENT_ERROR)
    assert isinstance(selection.error, ValueError)
    assert archroute.SelectionOutcome.DEFAULT is selection.outcome
