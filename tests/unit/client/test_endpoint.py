import asyncio
import math
from typing import Any

import pytest

from archroute import AsyncRouter, InvalidRequestError, Router
from archroute.endpoint import DEFAULT_TIMEOUT, Endpoint, grpc_timeout

TWINS = pytest.mark.parametrize("client", [Router, AsyncRouter])


@pytest.mark.parametrize(
    "address",
    [
        "localhost:50051",
        "router.prod.svc.cluster.local:443",
        "my_service:1",
        "10.0.0.1:65535",
        "[::1]:50051",
        "[fe80::1%eth0]:50051",
        "dns:///router:50051",
        "unix:/run/archroute.sock",
        "unix-abstract:archroute",
        "ipv4:10.0.0.1:50051,10.0.0.2:50051",
        "xds:///router",
    ],
)
def test_addresses_that_grpc_takes_are_left_alone(address: str) -> None:
    assert Endpoint.checked(address, 1, ()).address == address


@TWINS
@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "localhost:",
        ":50051",
        "localhost:http",
        "localhost:0",
        "localhost:65536",
        "local host:1",
        "::1:50051",
        "http://localhost:50051",
        "HTTPS://localhost:50051",
        "localhost:50051/path",
        "\udc80:1",
        None,
    ],
)
def test_other_addresses_are_refused_before_any_call(client: Any, address: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^address: "):
        client(address)


@TWINS
@pytest.mark.parametrize("timeout", [0, -1, math.nan, "5", True])
def test_a_timeout_must_be_above_zero(client: Any, timeout: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^timeout: "):
        client("localhost:50051", timeout=timeout)


def test_a_call_has_a_deadline_unless_told_otherwise() -> None:
    endpoint = Endpoint.checked("localhost:50051", DEFAULT_TIMEOUT, ())
    assert grpc_timeout(endpoint.seconds(None)) == DEFAULT_TIMEOUT
    assert grpc_timeout(endpoint.seconds(0.5)) == 0.5
    assert grpc_timeout(endpoint.seconds(math.inf)) is None


def test_the_options_of_the_caller_replace_those_of_the_client() -> None:
    before = dict(Endpoint.checked("localhost:50051", 1, ()).channel_options)
    mine = [("grpc.keepalive_time_ms", 7), ("grpc.lb_policy_name", "round_robin")]
    after = Endpoint.checked("localhost:50051", 1, mine).channel_options
    assert dict(after) == before | dict(mine)
    assert len(after) == len(before) + 1


def test_a_client_says_where_it_calls() -> None:
    with Router("localhost:50051") as router:
        assert repr(router) == "Router('localhost:50051')"
    assert repr(AsyncRouter("localhost:50051")) == "AsyncRouter('localhost:50051')"


def test_a_closed_client_stays_closed() -> None:
    router = Router("localhost:50051")
    router.close()
    router.close()
    with pytest.raises(ValueError, match="closed"):
        router.route("hi")

    async def use_after_close() -> None:
        awaited = AsyncRouter("localhost:50051")
        await awaited.close()
        await awaited.close()
        await awaited.route("hi")

    with pytest.raises(ValueError, match="closed"):
        asyncio.run(use_after_close())


@pytest.mark.parametrize(
    ("address", "balanced"),
    [
        ("dns:///router:50051", True),
        ("ipv4:10.0.0.1:50051,10.0.0.2:50051", True),
        ("ipv6:[::1]:50051,[::2]:50051", True),
        ("localhost:50051", False),
        ("unix:/run/archroute.sock", False),
        ("xds:///router", False),
    ],
)
def test_calls_take_turns_where_a_name_stands_for_several_servers(address: str, balanced: bool) -> None:
    options = dict(Endpoint.checked(address, 1, ()).channel_options)
    assert options.get("grpc.lb_policy_name") == ("round_robin" if balanced else None)


def test_another_way_to_choose_a_server_can_be_set() -> None:
    chosen = ("grpc.lb_policy_name", "pick_first")
    assert chosen in Endpoint.checked("dns:///router:50051", 1, [chosen]).channel_options
