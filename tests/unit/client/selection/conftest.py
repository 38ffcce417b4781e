"""Both clients behind one face, without a server."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from archroute import Selection, Selector
from archroute.testing import FakeAnswer, FakeAsyncRouter, FakeRouter


class Twin:
    """A client that answers by itself; its methods return what they return when they are awaited."""

    def __init__(self, kind: type, answer: FakeAnswer, selector: Selector | None) -> None:
        self.router: Any = kind(answer, selector=selector)

    def select(self, messages: Any = "Write a function", **options: Any) -> Selection:
        selection: Selection = self._done(self.router.select(messages, **options))
        return selection

    def report(self, selection: Selection, **options: Any) -> None:
        self._done(self.router.report(selection, **options))

    @staticmethod
    def _done(result: Any) -> Any:
        if not asyncio.iscoroutine(result):
            return result

        async def done() -> Any:
            return await result

        return asyncio.run(done())


@pytest.fixture(params=[FakeRouter, FakeAsyncRouter])
def twin(request: pytest.FixtureRequest) -> Callable[..., Twin]:
    """Makes a client: give it an answer and a selector."""

    def make(answer: FakeAnswer, selector: Selector | None) -> Twin:
        return Twin(request.param, answer, selector)

    return make
