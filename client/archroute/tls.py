"""Tls: how a client encrypts, and how it proves who it is."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import grpc

from archroute.fields import invalid, kind_of

__all__ = ["Tls", "to_credentials"]

FilePath = str | PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files for TLS, in PEM. They are read once, when a client is made."""

    ca: FilePath | None = None
    """The authorities that a server's certificate must come from; by default those that gRPC brings along."""

    certificate: FilePath | None = None
    """The client's own certificate, for a server that asks for one (mutual TLS). Needs `key`."""

    key: FilePath | None = None
    """The private key of the certificate."""


def to_credentials(
    tls: object, credentials: grpc.ChannelCredentials | None
) -> grpc.ChannelCredentials | None:
    """What a channel encrypts with; None for plain text.

    Raises:
        InvalidRequestError: Both are given, or `tls` is neither a bool nor a `Tls` whose files can be read.
    """
    if tls is False:
        return credentials
    if credentials is not None:
        raise invalid("tls", "give either `tls` or `credentials`")
    if tls is True:
        tls = Tls()
    if not isinstance(tls, Tls):
        raise invalid("tls", f"must be True, False or an archroute.Tls, not {kind_of(tls)}")
    if (tls.certificate is None) != (tls.key is None):
        raise invalid("tls", "a certificate and its key are needed together")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca, "tls.ca"),
        private_key=_read(tls.key, "tls.key"),
        certificate_chain=_read(tls.certificate, "tls.certificate"),
    )


def _read(path: FilePath | None, field: str) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise invalid(field, f"{path} cannot be read: {error.strerror}") from error
    # gRPC would tell at the first call, and in its log alone.
    if b"-----BEGIN " not in content:
        raise invalid(field, f"{path} is not in PEM, which begins with `-----BEGIN`")
    return content
