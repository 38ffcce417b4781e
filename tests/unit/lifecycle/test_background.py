import asyncio

import pytest

from archroute_server.lifecycle.background import background


class Work:
    """Begins, and goes on until it is cut off; then it takes a moment to tidy up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.tidy = False

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.tidy = True


async def test_the_end_of_the_block_waits_until_works_are_cut_off() -> None:
    first, second = Work(), Work()
    async with background(first.run(), second.run()):
        await first.begun.wait()
        await second.begun.wait()
    assert first.tidy
    assert second.tidy


async def test_what_a_work_raises_ends_nothing_else() -> None:
    async def fail() -> None:
        raise ValueError("unforeseen")

    work = Work()
    async with background(fail(), work.run()):
        await work.begun.wait()
        assert not work.tidy
    assert work.tidy


async def test_an_error_of_the_block_is_the_blocks() -> None:
    work = Work()

    async def fail() -> None:
        async with background(work.run()):
            await work.begun.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert work.tidy
