"""`archroute health`: asks a server whether it serves, for the health check of a container and for scripts.

It asks the health service that gRPC defines for every server. The messages have one field each, so that
protobuf's wrappers of single values are the same on the wire, and no generated code is needed.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import argparse
import os

import grpc
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from archroute.commands import Command, CommandError
from archroute.commands.connection import add_connection_arguments, tls_of, token_of
from archroute.commands.route import ADDRESS_VARIABLE
from archroute.endpoint import DEFAULT_ADDRESS, Endpoint
from archroute.errors import ArchrouteError
from archroute.tls import to_credentials

__all__ = ["command"]

TIMEOUT = 3.0

_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = 1
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address",
        nargs="?",
        metavar="HOST:PORT",
        default=os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS,
        help=f"the server (default: %(default)s; the environment variable {ADDRESS_VARIABLE} sets it too)",
    )
    parser.add_argument(
        "--service",
        metavar="NAME",
        default="",
        help="a service of the server, such as archroute.v1.RouterService; without it, the server as a whole",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT,
        help="how long to wait for the answer (default: %(default)g)",
    )
    add_connection_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    try:
        credentials = to_credentials(tls_of(arguments), None)
        endpoint = Endpoint.checked(
            arguments.address,
            arguments.timeout,
            (),
            token=token_of(arguments),
            encrypted=credentials is not None,
        )
        status = _check(endpoint, credentials, arguments.service)
    except ArchrouteError as error:
        raise CommandError(str(error)) from error
    name = _STATUSES[status] if 0 <= status < len(_STATUSES) else str(status)
    if status != _SERVING:
        raise CommandError(f"the server at {endpoint.address} reports {name}")
    print(name)
    return 0


def _check(endpoint: Endpoint, credentials: grpc.ChannelCredentials | None, service: str) -> int:
    """Returns the status that the server reports."""
    target = (endpoint.address, endpoint.channel_options)
    opened = (
        grpc.insecure_channel(*target)
        if credentials is None
        else grpc.secure_channel(endpoint.address, credentials, endpoint.channel_options)
    )
    with opened as channel:
        check = channel.unary_unary(
            _CHECK,
            request_serializer=StringValue.SerializeToString,
            response_deserializer=Int32Value.FromString,
        )
        try:
            answer: Int32Value = check(
                StringValue(value=service), timeout=endpoint.timeout, metadata=endpoint.metadata
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise CommandError(f"the server at {endpoint.address} has no service {service!r}") from error
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise CommandError(f"the server at {endpoint.address} has no health service") from error
            raise endpoint.error(error, endpoint.timeout) from error
    return answer.value


command = Command(
    name="health",
    summary="Ask a server whether it is ready to decide.",
    extra=None,
    add_arguments=_add_arguments,
    run=_run,
)
