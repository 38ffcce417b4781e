from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from archroute_server.access.certificates import CertificateError, CertificateFiles
from support.certificates import CertificateFolder


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> CertificateFolder:
    folder = CertificateFolder.make(tmp_path_factory.mktemp("certificates"))
    folder.issue("server")
    folder.issue("other")
    return folder


@pytest.fixture
def files(issued: CertificateFolder) -> CertificateFiles:
    return CertificateFiles(issued.folder / "server.pem", issued.folder / "server.key", issued.ca)


def problem(files: CertificateFiles, now: datetime | None = None) -> str:
    with pytest.raises(CertificateError) as refused:
        files.load(*([] if now is None else [lambda: now]))
    assert "PRIVATE KEY-----\n" not in str(refused.value)
    return str(refused.value)


def test_what_belongs_together_is_loaded(files: CertificateFiles) -> None:
    certificates = files.load()
    assert certificates.chain == files.chain.read_bytes()
    assert certificates.key == files.key.read_bytes()
    assert files.client_authorities is not None
    assert certificates.client_authorities == files.client_authorities.read_bytes()
    assert certificates.expires > datetime.now(UTC)
    assert len(files.paths) == 3
    assert replace(files, client_authorities=None).load().client_authorities is None
    assert len(replace(files, client_authorities=None).paths) == 2


def test_a_key_of_another_certificate(files: CertificateFiles, issued: CertificateFolder) -> None:
    other = issued.folder / "other.key"
    said = problem(replace(files, key=other))
    assert (
        said == f"{other}: is not the key of the certificate {files.chain}; give those that belong together"
    )


@pytest.mark.parametrize("field", ["chain", "key", "client_authorities"])
def test_a_file_that_is_not_there(files: CertificateFiles, tmp_path: Path, field: str) -> None:
    missing = tmp_path / "missing.pem"
    assert problem(replace(files, **{field: missing})) == (
        f"{missing}: cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("chain", "is not a certificate in PEM"),
        ("key", "is not a private key in PEM"),
        ("client_authorities", "is not a certificate in PEM"),
    ],
)
def test_a_file_of_something_else(
    files: CertificateFiles, tmp_path: Path, field: str, said: str, content: bytes
) -> None:
    path = tmp_path / "broken.pem"
    path.write_bytes(content)
    assert problem(replace(files, **{field: path})).startswith(f"{path}: {said}")


def test_a_key_with_a_password(files: CertificateFiles, tmp_path: Path) -> None:
    key = load_pem_private_key(files.key.read_bytes(), password=None)
    path = tmp_path / "locked.key"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    )
    assert "protected by a password" in problem(replace(files, key=path))


def test_a_certificate_out_of_its_time(files: CertificateFiles) -> None:
    expires = files.load().expires
    assert problem(files, expires + timedelta(seconds=1)).startswith(
        f"{files.chain}: expired on {expires:%Y-%m-%d}; renew it"
    )
    assert "is valid only from" in problem(files, datetime(1990, 1, 1, tzinfo=UTC))
