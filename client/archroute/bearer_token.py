"""Bearer tokens: what a client sends to say who it is, and where it does not."""

import ipaddress
import re
from urllib.parse import unquote

from archroute.fields import checked_text, invalid

__all__ = ["authorization", "is_local"]

Metadata = tuple[tuple[str, str], ...]

_LOCAL_SCHEMES = ("unix:", "unix-abstract:")
# Of a name server that the target itself gives, nothing is known.
_HOST_OF_TARGET = re.compile(r"(?:dns:(?:///)?|ipv4:|ipv6:)?(?P<host>\[[^\]]*\]|[^:/\[\]]+)(?::[0-9]+)?")


def authorization(token: object, address: str, *, encrypted: bool) -> Metadata:
    """The metadata of each call that carries the token; none without a token.

    Raises:
        InvalidRequestError: It is no token, or would leave this machine in plain text.
    """
    if token is None:
        return ()
    text = checked_text(token, "token")
    # The token itself is not quoted: an error may be logged.
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise invalid("token", "must be printable ASCII without spaces, as `archroute token` makes it")
    if not encrypted and not is_local(address):
        raise invalid(
            "token", f"would be sent to {address} in plain text, where others can read it; encrypt with `tls`"
        )
    return (("authorization", f"Bearer {text}"),)


def is_local(address: str) -> bool:
    """Whether a gRPC target is surely on this machine: a Unix socket, `localhost`, or a loopback address."""
    if address.startswith(_LOCAL_SCHEMES):
        return True
    hosts = [_HOST_OF_TARGET.fullmatch(target) for target in unquote(address).split(",")]
    return all(match is not None and _is_loopback(match["host"].strip("[]")) for match in hosts)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
