"""`archroute health` against servers on real sockets."""

import argparse
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from archroute.commands import CommandError
from archroute.commands.health import command

Run = Callable[..., int]


@pytest.fixture
def run() -> Run:
    def run(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.run(parser.parse_args([*arguments, "--timeout", "60"]))

    return run


@pytest.fixture
def healthy() -> Iterator[tuple[str, health.HealthServicer]]:
    """The address of a server, and what it says of itself."""
    servicer = health.HealthServicer()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield address, servicer
    server.stop(None).wait()


def test_a_server_that_serves(
    run: Run, healthy: tuple[str, health.HealthServicer], capsys: pytest.CaptureFixture[str]
) -> None:
    address, servicer = healthy
    servicer.set("archroute.v1.RouterService", health_pb2.HealthCheckResponse.SERVING)
    assert run(address) == 0
    assert run(address, "--service", "archroute.v1.RouterService") == 0
    assert capsys.readouterr().out == "SERVING\n" * 2


def test_one_that_does_not_serve_yet(run: Run, healthy: tuple[str, health.HealthServicer]) -> None:
    address, servicer = healthy
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    with pytest.raises(CommandError, match=f"^the server at {address} reports NOT_SERVING$"):
        run(address)


def test_a_status_that_is_0_on_the_wire(run: Run, healthy: tuple[str, health.HealthServicer]) -> None:
    address, servicer = healthy
    servicer.set("", health_pb2.HealthCheckResponse.UNKNOWN)
    with pytest.raises(CommandError, match="reports UNKNOWN"):
        run(address)


def test_a_service_that_is_not_there(run: Run, healthy: tuple[str, health.HealthServicer]) -> None:
    with pytest.raises(CommandError, match=r"has no service 'other\.Service'"):
        run(healthy[0], "--service", "other.Service")


def test_a_server_without_the_health_service(run: Run, server: Any) -> None:
    with pytest.raises(CommandError, match=f"^the server at {server.address} has no health service$"):
        run(server.address)


def test_nobody_there(run: Run, server: Any) -> None:
    server.stop()
    with pytest.raises(CommandError, match=f"no archroute server answers at {server.address}"):
        run(server.address)


@pytest.mark.parametrize(
    "arguments", [["localhost"], ["http://localhost:1"], ["localhost:1", "--timeout", "0"]]
)
def test_arguments_that_cannot_be(run: Run, arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(CommandError, match=r"^(address|timeout): "):
        command.run(parser.parse_args(arguments))
