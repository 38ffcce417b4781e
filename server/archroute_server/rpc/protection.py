"""Protection: TLS and the access rules of a server, kept as their files have them."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from archroute_server.access.access_file import AccessFileError, load_access_rules
from archroute_server.access.certificates import CertificateError, CertificateFiles, Certificates
from archroute_server.access.control import AccessControl
from archroute_server.access.reloading import LOOK_SECONDS, ReloadingFiles
from archroute_server.rpc.credentials import ReloadableCredentials

CERTIFICATE = "certificate"
ACCESS = "access"


class Tls(Enum):
    """Who shows a certificate to whom."""

    NONE = "none"
    SERVER = "server"
    MUTUAL = "mutual"


class Protection:
    """What stands between a server and its callers. Without files: no TLS, and rules for everyone."""

    def __init__(self, certificates: CertificateFiles | None = None, access: Path | None = None) -> None:
        """Read the files. Raises `CertificateError` and `AccessFileError`."""
        self.access = AccessControl()
        self.credentials: ReloadableCredentials | None = None
        self.tls = _tls(certificates)
        self._expires: datetime | None = None
        self._files: dict[str, ReloadingFiles[Any]] = {}
        if certificates is not None:
            self._open_certificates(certificates)
        if access is not None:
            self._open_access(access)

    @property
    def files(self) -> Mapping[str, ReloadingFiles[Any]]:
        """What is read again when it changes, by name."""
        return self._files

    def certificate_expiry(self) -> datetime | None:
        """Return when the certificate expires, if there is one; any thread may call."""
        return self._expires

    async def reload(self) -> None:
        """Read every file again, changed or not. What cannot be used is logged, and the old stays."""
        for files in self._files.values():
            await files.reload()

    async def keep_current(self, seconds: float = LOOK_SECONDS) -> None:
        """Look every `seconds` whether files have changed, and read those again; until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            for files in self._files.values():
                await files.look()

    def _open_certificates(self, files: CertificateFiles) -> None:
        reloading = ReloadingFiles(
            CERTIFICATE, files.paths, files.load, self._use_certificates, (CertificateError,)
        )
        self._use_certificates(reloading.begin())
        self._files[CERTIFICATE] = reloading

    def _use_certificates(self, certificates: Certificates) -> None:
        if self.credentials is None:
            self.credentials = ReloadableCredentials(certificates)
        else:
            self.credentials.replace(certificates)
        self._expires = certificates.expires

    def _open_access(self, path: Path) -> None:
        reloading = ReloadingFiles(
            ACCESS, (path,), lambda: load_access_rules(path), self.access.replace, (AccessFileError,)
        )
        self.access.replace(reloading.begin())
        self._files[ACCESS] = reloading


def _tls(certificates: CertificateFiles | None) -> Tls:
    if certificates is None:
        return Tls.NONE
    return Tls.SERVER if certificates.client_authorities is None else Tls.MUTUAL
