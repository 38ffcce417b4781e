"""Requests as a gateway sends them: mostly new questions, some again, some with policies of their own."""

import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import grpc

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub
from support.open_loop import Call
from support.rpc_calls import ask, user

# What the server may say of a correct request, whatever goes on. One of these ends every call.
EXPECTED = frozenset({"OK", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "UNAVAILABLE"})

# What tells requests that were wrong on purpose.
WRONG = "INVALID_ARGUMENT"

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_INLINE = router_pb2.InlinePolicies(
    policies=[
        router_pb2.Policy(name="sea", description="Ships and fish"),
        router_pb2.Policy(name="sky", description="Clouds and birds"),
    ],
    default_policy="sky",
)


async def status_of(call: Awaitable[object]) -> str:
    """Await a call and return the name of its status."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


class Traffic:
    """Makes calls of every kind, in random order by weight; the same ones for the same seed."""

    def __init__(self, channel: grpc.aio.Channel, seed: int, timeout: float = 60.0) -> None:
        self._stub: Any = RouterServiceStub(channel)
        self._random = random.Random(seed)
        self._timeout = timeout
        self._conversation: list[str] = []
        self._kinds: dict[Callable[[int], Awaitable[str]], int] = {
            self._new_question: 50,
            self._known_question: 15,
            self._growing_conversation: 12,
            self._inline_policies: 8,
            self._stream: 5,
            self._with_fallback: 5,
            self._list: 3,
            self._wrong: 2,
        }

    def calls(self, count: int) -> Iterator[Call]:
        """Return so many calls, each made when it is called."""
        kinds, weights = list(self._kinds), list(self._kinds.values())
        for _ in range(count):
            (kind,) = self._random.choices(kinds, weights)
            number = self._random.getrandbits(32)
            yield partial(kind, number)

    def question(self, number: int) -> Call:
        """Return a call with a question that is like no other."""
        return partial(self._new_question, number)

    async def _route(self, request: router_pb2.RouteRequest) -> str:
        return await status_of(self._stub.Route(request, timeout=self._timeout))

    async def _new_question(self, number: int) -> str:
        return await self._route(ask(f"Please fix error {number} in my program"))

    async def _known_question(self, number: int) -> str:
        return await self._route(ask(f"What is wrong with program {number % 8}?"))

    async def _growing_conversation(self, number: int) -> str:
        self._conversation.append(f"And what about number {number}?")
        turns = [user(text) for text in self._conversation]
        if len(turns) >= 12:
            self._conversation.clear()
        return await self._route(router_pb2.RouteRequest(messages=turns))

    async def _inline_policies(self, number: int) -> str:
        return await self._route(ask(f"Gull {number}", inline_policies=_INLINE))

    async def _with_fallback(self, number: int) -> str:
        options = router_pb2.RouteOptions()
        options.decide_by.FromMilliseconds(1 + number % 100)
        return await self._route(ask(f"Tern {number}", inline_policies=_INLINE, options=options))

    async def _stream(self, number: int) -> str:
        """Ask three questions on one stream; the status is that of the first that was not answered well."""
        requests = [
            router_pb2.RouteStreamRequest(request_id=str(index), request=ask(f"Question {number}/{index}"))
            for index in range(3)
        ]
        call = self._stub.RouteStream(iter(requests), timeout=self._timeout)
        answered: dict[str, str] = {}

        async def read() -> None:
            async for answer in call:
                answered[answer.request_id] = _CODES[answer.error.code] if answer.HasField("error") else "OK"

        ended = await status_of(read())
        if ended == "OK":
            assert answered.keys() == {"0", "1", "2"}
        return next((code for code in (ended, *answered.values()) if code != "OK"), "OK")

    async def _list(self, _number: int) -> str:
        request = router_pb2.ListPolicySetsRequest()
        return await status_of(self._stub.ListPolicySets(request, timeout=self._timeout))

    async def _wrong(self, _number: int) -> str:
        return await self._route(router_pb2.RouteRequest(messages=[router_pb2.Message()]))
