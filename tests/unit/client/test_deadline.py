"""The deadline of the asyncio client is its own too, should gRPC be late."""

import asyncio
from typing import Any

import pytest

import archroute
from archroute import AsyncRouter, ModelMap, SelectionReason, Selector


class Stub:
    """Takes no notice of the timeout."""

    async def _never(self, request: object, **options: Any) -> Any:
        await asyncio.Event().wait()

    Route = GetPolicySet = _never


class LateRouter(AsyncRouter):
    """A client whose gRPC does not see the deadline pass."""

    def _methods(self) -> Any:
        return Stub()


async def test_a_call_ends_by_itself() -> None:
    async with LateRouter("127.0.0.1:1") as router:
        with pytest.raises(
            archroute.DeadlineExceededError, match=r"no answer from 127\.0\.0\.1:1 within 0\.01 s"
        ):
            await router.get_policy_set(timeout=0.01)


async def test_so_does_a_selection() -> None:
    selector = Selector(ModelMap("default"), timeout=0.01)
    async with LateRouter("127.0.0.1:1", selector=selector) as router:
        selection = await router.select("Hello")
    assert selection.reason is SelectionReason.DEADLINE_EXCEEDED
    assert isinstance(selection.error, archroute.DeadlineExceededError)


async def test_without_a_limit_it_goes_on() -> None:
    async with LateRouter("127.0.0.1:1", timeout=float("inf")) as router:
        call = asyncio.create_task(router.route("Hello"))
        await asyncio.sleep(0)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
