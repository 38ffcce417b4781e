"""Calls to several servers under one address."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from archroute import AsyncRouter, Router
from archroute.v1 import router_pb2

# Turns are taken between the connections that stand, so the first calls may all go to one server.
CALLS = 1000


@pytest.fixture
def address(raw_server: Callable[[bytes], Any]) -> str:
    """That of two servers, each of which gives its own name for a policy."""
    answers = [router_pb2.RouteResponse(policy=name, outcome=1) for name in ("one", "other")]
    servers = [raw_server(answer.SerializeToString()) for answer in answers]
    return "ipv4:" + ",".join(server.address for server in servers)


def test_both_servers_are_asked(address: str) -> None:
    seen: set[str | None] = set()
    with Router(address, timeout=60) as router:
        for _ in range(CALLS):
            seen.add(router.route("hi").policy)
            if len(seen) == 2:
                break
    assert seen == {"one", "other"}


def test_both_servers_are_asked_from_asyncio(address: str) -> None:
    async def ask() -> set[str | None]:
        seen: set[str | None] = set()
        async with AsyncRouter(address, timeout=60) as router:
            for _ in range(CALLS):
                seen.add((await router.route("hi")).policy)
                if len(seen) == 2:
                    break
        return seen

    assert asyncio.run(ask()) == {"one", "other"}


def test_without_turns_one_server_gets_every_call(address: str) -> None:
    with Router(address, timeout=60, options=[("grpc.lb_policy_name", "pick_first")]) as router:
        assert len({router.route("hi").policy for _ in range(20)}) == 1
