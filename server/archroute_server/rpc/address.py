"""Addresses that a server can listen on."""

import errno
import ipaddress
import os
import socket
import stat
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

_UNIX_PREFIX = "unix:"


class InvalidAddress(ValueError):
    """The text is not an address; the message says what one looks like."""


class AddressUnavailable(Exception):
    """Nothing can listen on the address; the message names it, why, and what to do."""


class PortInUse(AddressUnavailable):
    """Another process listens on the address already."""


class PlaintextRefused(AddressUnavailable):
    """Other machines could call here, and nothing would be encrypted."""


@dataclass(frozen=True)
class Address:
    """`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Port 0 lets the system choose a free one."""

    host: str = ""
    port: int = 0
    unix_path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises `InvalidAddress`."""
        if text.startswith(_UNIX_PREFIX):
            path = text.removeprefix(_UNIX_PREFIX)
            if not path:
                raise InvalidAddress("names no file; write unix:PATH, such as unix:/run/archroute.sock")
            return cls(unix_path=path)
        host, separator, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not separator or not host or (":" in host and not bracketed) or host == "[]":
            raise InvalidAddress(
                "is not an address; write HOST:PORT, [IPV6]:PORT or unix:PATH, such as 127.0.0.1:50051"
            )
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise InvalidAddress(f"has no usable port: {port!r} is not a number from 0 to 65535")
        return cls(host=host[1:-1] if bracketed else host, port=int(port))

    def __str__(self) -> str:
        if self.unix_path:
            return f"{_UNIX_PREFIX}{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def with_port(self, port: int) -> "Address":
        """Return the address with the port that the system chose; a Unix socket has none."""
        return self if self.unix_path else replace(self, port=port)

    def check_local(self) -> None:
        """Raise `PlaintextRefused` if other machines can reach this address.

        A Unix socket is of this machine, and so is a host of which all addresses are loopback ones. A host
        that is unknown is for `check_available` to tell.
        """
        if self.unix_path:
            return
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            return
        hosts = [str(socket_address[0]).partition("%")[0] for *_, socket_address in found]
        if not all(ipaddress.ip_address(host).is_loopback for host in hosts):
            raise PlaintextRefused(
                f"cannot listen on {self} without encryption: conversations and tokens could be read on the "
                "way. Give --tls-certificate and --tls-key, or --allow-plaintext if the network encrypts by "
                "itself, as a service mesh does"
            )

    def check_available(self, flag: str = "--listen") -> None:
        """Raise `AddressUnavailable` if nothing can listen here, `PortInUse` if somebody does.

        `flag` is what the address was given with, and what the message says to give another with.

        gRPC cannot be left to find out: it says no more than that binding failed, it is content with one of
        the addresses of a host name (`localhost` is two), and it deletes a Unix socket that is being served.
        """
        if self.unix_path:
            _check_unix_socket(self, Path(self.unix_path), flag)
        else:
            _check_host(self, flag)


def _check_host(address: Address, flag: str) -> None:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise AddressUnavailable(
            f"cannot listen on {address}: the host name {address.host!r} is unknown"
        ) from error
    for family, _, _, _, socket_address in found:
        _check_bind(address, family, socket_address, flag)


def _check_bind(
    address: Address, family: socket.AddressFamily, socket_address: tuple[Any, ...], flag: str
) -> None:
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            # As gRPC does: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(socket_address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(address, flag) from error
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and address.host == "localhost":
            return  # A machine without IPv6 still names ::1 in its hosts file.
        raise AddressUnavailable(f"cannot listen on {address}: {_reason(error)}") from error


def _check_unix_socket(address: Address, path: Path, flag: str) -> None:
    try:
        if not path.exists():
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise AddressUnavailable(
                    f"cannot listen on {address}: {path.parent} is not a folder that can be written to"
                )
            return
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise AddressUnavailable(f"cannot listen on {address}: the file exists and is not a socket")
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
            probe.connect(str(path))
    except ConnectionRefusedError:
        return  # Left behind by a server that is gone.
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {address}: {_reason(error)}") from error
    raise _in_use(address, flag)


def _in_use(address: Address, flag: str) -> PortInUse:
    return PortInUse(
        f"cannot listen on {address}: another process does already; "
        f"stop it, or choose another address with {flag}"
    )


def _reason(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 are often reserved for the administrator"
    return (error.strerror or str(error)).lower()
