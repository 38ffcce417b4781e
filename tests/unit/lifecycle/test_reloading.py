import asyncio

from archroute_server.lifecycle.background import background
from archroute_server.lifecycle.reloading import reload_when_asked


class Step:
    """A reload that waits until it may end, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Queue[None]()
        self.may_end = asyncio.Semaphore(0)
        self.error = error
        self.ended = 0

    async def run(self) -> None:
        self.begun.put_nowait(None)
        await self.may_end.acquire()
        self.ended += 1
        if self.error is not None:
            raise self.error


async def test_every_step_is_done_in_its_order_whatever_the_others_do() -> None:
    asked = asyncio.Event()
    first, second = Step(ValueError("unforeseen")), Step()
    async with background(reload_when_asked(asked, (first.run, second.run))):
        asked.set()
        await first.begun.get()
        assert second.begun.empty()
        first.may_end.release()
        await second.begun.get()
        assert first.ended == 1


async def test_what_is_asked_for_meanwhile_is_done_once_more() -> None:
    asked = asyncio.Event()
    step = Step()
    async with background(reload_when_asked(asked, (step.run,))):
        asked.set()
        await step.begun.get()
        # Twice during the first reload is once after it.
        asked.set()
        asked.set()
        step.may_end.release()
        await step.begun.get()
        step.may_end.release()
        while step.ended < 2:
            await asyncio.sleep(0)
        assert step.begun.empty()
        assert not asked.is_set()


async def test_the_end_cuts_a_reload_off() -> None:
    asked = asyncio.Event()
    step = Step()
    async with background(reload_when_asked(asked, (step.run,))):
        asked.set()
        await step.begun.get()
    step.may_end.release()
    await asyncio.sleep(0)
    assert step.ended == 0
