"""Certificates: what a server shows to its callers, and whose certificates it accepts from them.

They are checked here before they are used, because gRPC says no more of a certificate that it cannot use than
that binding failed, and of a new one nothing at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

Now = Callable[[], datetime]


class CertificateError(Exception):
    """A certificate or a key that cannot be used; the message names the file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What TLS needs, as PEM."""

    chain: bytes
    """The server's certificate, then those that lead from it to the authority."""
    key: bytes
    client_authorities: bytes | None
    """Whoever calls must show a certificate of one of these authorities; None if nobody must."""
    expires: datetime


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where certificates are kept, as PEM files."""

    chain: Path
    key: Path
    client_authorities: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that there are."""
        return tuple(path for path in (self.chain, self.key, self.client_authorities) if path is not None)

    def load(self, now: Now = lambda: datetime.now(UTC)) -> Certificates:
        """Read the files and check that they can be used together, now. Raises `CertificateError`."""
        chain, key = _read(self.chain), _read(self.key)
        certificate = _certificates(self.chain, chain)[0]
        if _private_key(self.key, key).public_key() != certificate.public_key():
            raise CertificateError(
                f"{self.key}: is not the key of the certificate {self.chain}; give those that belong together"
            )
        _check_dates(self.chain, certificate, now())
        authorities = None
        if self.client_authorities is not None:
            authorities = _read(self.client_authorities)
            _certificates(self.client_authorities, authorities)
        return Certificates(chain, key, authorities, certificate.not_valid_after_utc)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from error


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(
            f"{path}: is not a certificate in PEM, which begins with `-----BEGIN CERTIFICATE-----`"
        ) from error


def _private_key(path: Path, pem: bytes) -> PrivateKeyTypes:
    # The causes are left out, as they could quote the key.
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError(
            f"{path}: is protected by a password, which this server has no way to ask for; "
            "remove it with `openssl pkey`, and let nobody else read the file"
        ) from None
    except Exception:  # noqa: BLE001 - of many kinds, one of them for keys that are not supported
        raise CertificateError(
            f"{path}: is not a private key in PEM, which begins with `-----BEGIN PRIVATE KEY-----`"
        ) from None


def _check_dates(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise CertificateError(f"{path}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it")
    if now < certificate.not_valid_before_utc:
        raise CertificateError(
            f"{path}: is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; "
            "check the clock of this machine"
        )
