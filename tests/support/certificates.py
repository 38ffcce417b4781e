"""Certificates for tests, from authorities that are made for them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme

from archroute_server.access.certificates import CertificateFiles

HOST = "127.0.0.1"


@dataclass(frozen=True)
class CertificateFolder:
    """An authority, and a folder with PEM files that it issued."""

    authority: trustme.CA
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "CertificateFolder":
        """Make an authority, with its own certificate in `ca.pem`."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        return cls(authority, folder)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str = "server", *, expires: datetime | None = None) -> CertificateFiles:
        """Write `NAME.pem` and `NAME.key` for the loopback address, over those that are there."""
        issued = self.authority.issue_cert(HOST, not_after=expires)
        files = CertificateFiles(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        files.chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(files.key)
        return files
