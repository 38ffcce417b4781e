import asyncio

import pytest

from archroute_evaluation.asking.answer import RequestFailed
from archroute_evaluation.asking.asking import ask_all


async def test_answers_are_in_the_order_of_the_questions() -> None:
    order = [asyncio.Event() for _ in range(4)]
    order[3].set()

    async def ask(number: int) -> int:
        # Each waits for the one after it.
        await order[number].wait()
        order[number - 1].set()
        return 10 * number

    assert await ask_all(ask, range(4), concurrency=4) == [0, 10, 20, 30]


async def test_so_many_are_asked_at_once_and_no_more() -> None:
    running, most = 0, 0
    full = asyncio.Event()

    async def ask(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        running -= 1
        return number

    await ask_all(ask, range(9), concurrency=3)
    assert most == 3


async def test_a_failed_request_stands_in_its_place() -> None:
    done = []

    async def ask(number: int) -> int:
        if number == 1:
            raise RequestFailed("UNAVAILABLE", "SERVER_STOPPING", "the server stops")
        return number

    first, failed, last = await ask_all(ask, range(3), 2, lambda: done.append(None))
    assert (first, last) == (0, 2)
    assert isinstance(failed, RequestFailed)
    assert (failed.status, failed.reason, str(failed)) == (
        "UNAVAILABLE",
        "SERVER_STOPPING",
        "the server stops",
    )
    assert len(done) == 3


async def test_a_defect_ends_them_all() -> None:
    cancelled = asyncio.Event()

    async def ask(number: int) -> int:
        if number == 1:
            raise ZeroDivisionError
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return number

    with pytest.raises(ZeroDivisionError):
        await ask_all(ask, range(2), concurrency=2)
    assert cancelled.is_set()


async def test_nothing_is_asked_of_nothing() -> None:
    async def ask(number: int) -> int:
        raise AssertionError

    assert await ask_all(ask, [], concurrency=2) == []
