from pathlib import Path

import pytest

from archroute_server.access.access_file import AccessFileError
from archroute_server.access.certificates import CertificateError
from archroute_server.access.errors import TokenMissing
from archroute_server.access.reloading import ReloadStatistics
from archroute_server.rpc.protection import Protection, Tls
from support.certificates import CertificateFolder
from support.rpc_calls import logging_to_memory

ROUTE = "/archroute.v1.RouterService/Route"
OPEN = "anonymous: [route]\n"
CLOSED = f"tokens:\n- {{name: gateway, sha256: {'a' * 64}, scopes: [route]}}\n"


def test_without_files_there_is_no_tls_and_everyone_may_ask() -> None:
    protection = Protection()
    assert (protection.credentials, protection.tls) == (None, Tls.NONE)
    assert protection.certificate_expiry() is None
    assert protection.files == {}
    assert protection.access.admit(ROUTE, [], "unix:").name.text == "unix:"


async def test_whoever_asks_for_it_has_every_file_read_again_at_once(tmp_path: Path) -> None:
    access, folder = tmp_path / "access.yaml", CertificateFolder.make(tmp_path / "certificates")
    access.write_text(OPEN)
    protection = Protection(folder.issue(), access)
    assert protection.tls is Tls.SERVER
    protection.access.admit(ROUTE, [], "unix:")
    access.write_text(CLOSED)
    (folder.folder / "server.key").write_text("")
    with logging_to_memory() as log:
        await protection.reload()
        assert log.worst() == {"error"}
    with pytest.raises(TokenMissing):
        protection.access.admit(ROUTE, [], "unix:")
    statistics = {name: files.statistics for name, files in protection.files.items()}
    assert statistics == {
        "certificate": ReloadStatistics(loaded=0, failed=1, successful=False),
        "access": ReloadStatistics(loaded=1, failed=0, successful=True),
    }


def test_a_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match=r"access\.yaml: cannot be read"):
        Protection(access=tmp_path / "access.yaml")
    files = CertificateFolder.make(tmp_path / "certificates").issue()
    files.key.unlink()
    with pytest.raises(CertificateError, match=r"server\.key: cannot be read"):
        Protection(files)
