"""Where a client calls, and on what terms: the part of both clients that opens no connection."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from archroute.errors import ArchrouteError
from archroute.fields import checked_text, invalid, kind_of
from archroute.retries import SERVICE_CONFIG
from archroute.status import call_failure
from archroute.version import __version__

__all__ = ["DEFAULT_ADDRESS", "DEFAULT_TIMEOUT", "ChannelOption", "Endpoint", "grpc_timeout"]

DEFAULT_ADDRESS = "localhost:50051"

DEFAULT_TIMEOUT = 5.0
"""Seconds. Enough for the 1.5B model on two CPU cores with an ordinary prompt and nothing cached (1.4 s for
570 tokens); a gateway that has a GPU, or a smaller model, should ask for far less."""

ChannelOption = tuple[str, str | int]

# https://grpc.github.io/grpc/core/group__grpc__arg__keys.html
_CHANNEL_OPTIONS: tuple[ChannelOption, ...] = (
    # How much to send is for the server to limit. An answer is small: 500 ranked policies take 50 kB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A connection that a firewall dropped without a word: with keepalive on, gRPC closes a connection whose
    # bytes nobody acknowledges within the timeout (TCP_USER_TIMEOUT), instead of after a quarter of an hour.
    ("grpc.keepalive_timeout_ms", 10_000),
    # Servers take pings that come more often than every five minutes for an attack, and hang up.
    ("grpc.keepalive_time_ms", 6 * 60 * 1000),
    ("grpc.service_config", SERVICE_CONFIG),
    # How long to wait before connecting again, at first and at most: by default a server that was away for a
    # while would be found again only after two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.primary_user_agent", f"archroute-python/{__version__}"),
)

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
# https://github.com/grpc/grpc/blob/master/doc/naming.md, and any scheme that an application registered.
_NAMED_BY_SCHEME = re.compile(
    r"(?:dns|unix|unix-abstract|vsock|ipv4|ipv6|passthrough):.|[a-z][a-z0-9+.-]*://"
)
# Those whose names stand for several servers, if there are several.
_SEVERAL_SERVERS = ("dns:", "ipv4:", "ipv6:")
_ROUND_ROBIN: ChannelOption = ("grpc.lb_policy_name", "round_robin")
_WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that was checked, and the timeout of calls that bring none of their own."""

    address: str
    timeout: float
    channel_options: tuple[ChannelOption, ...]

    @classmethod
    def checked(cls, address: object, timeout: object, options: Sequence[ChannelOption]) -> "Endpoint":
        """Checks what a client is built with.

        Calls to `dns:///host:port`, and to a list of addresses, take turns between the servers; gRPC itself
        would send all of them to the first that answers. An option `grpc.lb_policy_name` changes that.

        Raises:
            InvalidRequestError: The address has no port or looks like a web address, or the timeout is not
                above 0.
        """
        # Of several options of one name gRPC takes the first, so the caller's must replace ours.
        checked = _to_address(address)
        balanced = (_ROUND_ROBIN,) if checked.startswith(_SEVERAL_SERVERS) else ()
        merged = dict(_CHANNEL_OPTIONS + balanced) | dict(options)
        return cls(checked, _to_seconds(timeout), tuple(merged.items()))

    def seconds(self, timeout: float | None) -> float:
        """The timeout of a call, in seconds: its own, or else the client's; `math.inf` for no limit.

        Raises:
            InvalidRequestError: It is not above 0.
        """
        return self.timeout if timeout is None else _to_seconds(timeout)

    def error(self, error: grpc.RpcError, seconds: float) -> ArchrouteError:
        """The error to raise for a call that failed."""
        return call_failure(error).error(self.address, seconds)


def grpc_timeout(seconds: float) -> float | None:
    """Seconds as gRPC takes them, where None is no limit."""
    return None if math.isinf(seconds) else seconds


def _to_address(value: object) -> str:
    address = checked_text(value, "address")
    if _WEB_ADDRESS.match(address):
        raise invalid("address", f"{address!r} is a web address; write host:port, such as {DEFAULT_ADDRESS}")
    if _NAMED_BY_SCHEME.match(address):
        return address
    match = _HOST_AND_PORT.fullmatch(address)
    # Left to itself, gRPC would take 443 for a port that is missing.
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise invalid("address", f"{address!r} is not host:port, such as {DEFAULT_ADDRESS} or [::1]:50051")
    return address


def _to_seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid("timeout", f"must be a number of seconds, not {kind_of(value)}")
    if not value > 0:
        raise invalid("timeout", f"must be above 0 seconds, or math.inf for no limit, not {value}")
    return float(value)
