"""Asks many questions at once and keeps what came of each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from archroute_evaluation.asking.answer import RequestFailed

Q = TypeVar("Q")
A = TypeVar("A")


async def ask_all(
    ask: Callable[[Q], Awaitable[A]],
    questions: Sequence[Q],
    concurrency: int,
    advance: Callable[[], None] = lambda: None,
) -> list[A | RequestFailed]:
    """Return, in the order of `questions`, the answer to each or why there is none.

    At most `concurrency` are under way at once. `advance` is called after each. Any error other than
    `RequestFailed` ends them all.
    """
    results: list[A | RequestFailed | None] = [None] * len(questions)
    waiting = iter(enumerate(questions))

    async def work(waiting: Iterator[tuple[int, Q]]) -> None:
        for index, question in waiting:
            try:
                results[index] = await ask(question)
            except RequestFailed as failure:
                results[index] = failure
            advance()

    workers = [asyncio.ensure_future(work(waiting)) for _ in range(min(concurrency, len(questions)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [result for result in results if result is not None]
