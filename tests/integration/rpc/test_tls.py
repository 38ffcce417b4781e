"""Certificates on a whole server: shown, asked for, replaced while it runs."""

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from archroute import AccessDeniedError, AsyncRouter, Tls, UnavailableError
from archroute_server.access.access_file import AccessFileError
from archroute_server.access.bearer_token import token_digest
from archroute_server.access.certificates import CertificateError
from archroute_server.app import Application
from archroute_server.config import Settings
from archroute_server.lifecycle.signals import STOP_SIGNALS
from archroute_server.rpc.address import Address, PlaintextRefused
from support.certificates import HOST, CertificateFolder
from support.fake_engine import FakeEngine
from support.rpc_calls import Log
from support.scrape import scrape

SECRET = "archroute_secret"
POLICY = [{"name": "code", "description": "Writing code."}]

# Often enough for a test not to wait; nothing is said about how soon a change is seen.
LOOK_SECONDS = 0.01


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def certificates(tmp_path: Path) -> CertificateFolder:
    folder = CertificateFolder.make(tmp_path / "certificates")
    folder.issue()
    return folder


@pytest.fixture
def access(tmp_path: Path) -> Path:
    path = tmp_path / "access.yaml"
    write_access(path, SECRET)
    return path


def write_access(path: Path, secret: str) -> None:
    token = f"{{name: gateway, sha256: {token_digest(secret)}, scopes: [route]}}"
    path.write_text(f"anonymous: [health]\ntokens:\n- {token}\n")


@pytest.fixture
def settings(tmp_path: Path, certificates: CertificateFolder) -> Settings:
    return Settings(
        model=tmp_path,
        listen=Address(HOST, 0),
        metrics_listen=Address(HOST, 0),
        tls_certificate=certificates.folder / "server.pem",
        tls_key=certificates.folder / "server.key",
    )


@asynccontextmanager
async def running(settings: Settings, log: Log) -> AsyncIterator[str]:
    """Run a server until the block ends; give its address."""
    application = Application(
        settings, load_engine=lambda folder, settings: FakeEngine(), look_seconds=LOOK_SECONDS
    )
    task = asyncio.create_task(application.run())
    ready = asyncio.create_task(log.wait_for("ready"))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        await task
    try:
        yield ready.result()["address"]
    finally:
        signal.raise_signal(signal.SIGTERM)
        await task


async def ask(address: str, tls: bool | Tls, token: str | None = None) -> str | None:
    async with AsyncRouter(address, tls=tls, token=token, timeout=60) as router:
        return (await router.route("hi", policies=POLICY)).policy


async def serial_number(address: str, ca: Path) -> str:
    """Connect anew and return the serial number of the certificate that is shown."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    port = Address.parse(address).port

    def shown() -> str:
        with (
            socket.create_connection((HOST, port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as encrypted,
        ):
            certificate = encrypted.getpeercert()
            assert certificate is not None
            return str(certificate["serialNumber"])

    return await asyncio.to_thread(shown)


async def test_a_certificate_encrypts_and_is_checked_by_the_client(
    settings: Settings, certificates: CertificateFolder, tmp_path: Path, log: Log
) -> None:
    stranger = CertificateFolder.make(tmp_path / "stranger")
    async with running(settings, log) as address:
        assert log.lines("listening, not ready yet")[0]["tls"] == "server"
        assert await ask(address, Tls(ca=certificates.ca)) == "code"
        with pytest.raises(UnavailableError):
            await ask(address, Tls(ca=stranger.ca))
        with pytest.raises(UnavailableError):
            await ask(address, tls=False)


async def test_a_caller_must_show_a_certificate_if_authorities_are_named(
    settings: Settings, certificates: CertificateFolder, tmp_path: Path, log: Log
) -> None:
    mine = certificates.issue("client")
    stranger = CertificateFolder.make(tmp_path / "stranger").issue("client")
    mutual = replace(settings, tls_client_ca=certificates.ca)
    async with running(mutual, log) as address:
        assert log.lines("listening, not ready yet")[0]["tls"] == "mutual"
        with_mine = Tls(ca=certificates.ca, certificate=mine.chain, key=mine.key)
        assert await ask(address, with_mine) == "code"
        for refused in (
            Tls(ca=certificates.ca),
            Tls(ca=certificates.ca, certificate=stranger.chain, key=stranger.key),
        ):
            with pytest.raises(UnavailableError):
                await ask(address, refused)


async def test_a_new_certificate_is_shown_without_a_restart_and_open_connections_stay(
    settings: Settings, certificates: CertificateFolder, log: Log
) -> None:
    async with running(settings, log) as address:
        before = await serial_number(address, certificates.ca)
        async with AsyncRouter(address, tls=Tls(ca=certificates.ca), timeout=60) as open_before:
            await open_before.route("hi", policies=POLICY)
            expires = datetime(datetime.now(UTC).year + 2, 1, 1, tzinfo=UTC)
            certificates.issue(expires=expires)
            await log.wait_for("reloaded")
            after = await serial_number(address, certificates.ca)
            assert after != before
            assert await serial_number(address, certificates.ca) == after
            await open_before.route("hi", policies=POLICY)
        (served,) = log.lines("serving metrics")
        found = await asyncio.to_thread(scrape, f"http://{served['address']}{served['path']}")
        assert found.value("archroute_reloads_total", what="certificate", result="ok") == 1
        assert found.value("archroute_certificate_expiry_timestamp_seconds") == expires.timestamp()
    assert not log.lines("not reloaded, the old goes on")


def not_pem(folder: CertificateFolder) -> None:
    (folder.folder / "server.pem").write_text("half a certif")


def another_key(folder: CertificateFolder) -> None:
    other = folder.issue("other")
    other.key.replace(folder.folder / "server.key")


def expired(folder: CertificateFolder) -> None:
    folder.issue(expires=datetime(2001, 1, 1, tzinfo=UTC))


def gone(folder: CertificateFolder) -> None:
    (folder.folder / "server.key").unlink()


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (not_pem, "server.pem: is not a certificate in PEM"),
        (another_key, "server.key: is not the key of the certificate"),
        (expired, "server.pem: expired on 2001-01-01; renew it"),
        (gone, "server.key: cannot be read: No such file or directory"),
    ],
)
async def test_a_broken_certificate_keeps_the_old_one_and_is_logged_and_counted(
    settings: Settings,
    certificates: CertificateFolder,
    log: Log,
    break_it: Callable[[CertificateFolder], None],
    reason: str,
) -> None:
    async with running(settings, log) as address:
        before = await serial_number(address, certificates.ca)
        break_it(certificates)
        line = await log.wait_for("not reloaded, the old goes on")
        assert (line["level"], line["what"]) == ("error", "certificate")
        assert reason in line["reason"]
        assert await serial_number(address, certificates.ca) == before
        assert await ask(address, Tls(ca=certificates.ca)) == "code"
        certificates.issue()
        await log.wait_for("reloaded")
        assert await serial_number(address, certificates.ca) != before
        (served,) = log.lines("serving metrics")
        found = await asyncio.to_thread(scrape, f"http://{served['address']}{served['path']}")
        assert found.value("archroute_reloads_total", what="certificate", result="failed") == 1
        assert found.value("archroute_reloads_total", what="certificate", result="ok") == 1


async def test_new_authorities_for_callers_apply_without_a_restart(
    settings: Settings, certificates: CertificateFolder, tmp_path: Path, log: Log
) -> None:
    mine = certificates.issue("client")
    newcomers = CertificateFolder.make(tmp_path / "newcomers")
    theirs = newcomers.issue("client")
    mutual = replace(settings, tls_client_ca=tmp_path / "authorities.pem")
    (tmp_path / "authorities.pem").write_bytes(certificates.ca.read_bytes())
    async with running(mutual, log) as address:
        as_newcomer = Tls(ca=certificates.ca, certificate=theirs.chain, key=theirs.key)
        with pytest.raises(UnavailableError):
            await ask(address, as_newcomer)
        both = certificates.ca.read_bytes() + newcomers.ca.read_bytes()
        (tmp_path / "authorities.pem").write_bytes(both)
        await log.wait_for("reloaded")
        assert await ask(address, as_newcomer) == "code"
        as_before = Tls(ca=certificates.ca, certificate=mine.chain, key=mine.key)
        assert await ask(address, as_before) == "code"


async def test_tokens_over_tls_and_new_ones_without_a_restart(
    settings: Settings, certificates: CertificateFolder, access: Path, log: Log
) -> None:
    tls = Tls(ca=certificates.ca)
    async with running(replace(settings, access=access), log) as address:
        assert await ask(address, tls, SECRET) == "code"
        with pytest.raises(AccessDeniedError) as missing:
            await ask(address, tls)
        assert (missing.value.code, missing.value.reason) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "TOKEN_MISSING",
        )
        async with AsyncRouter(address, tls=tls, token=SECRET, timeout=60) as router:
            with pytest.raises(AccessDeniedError) as lacking:
                await router.list_policy_sets()
        assert (lacking.value.code, lacking.value.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "SCOPE_MISSING",
        )
        access.write_text("tokens: everyone")
        line = await log.wait_for("not reloaded, the old goes on")
        assert line["what"] == "access"
        assert line["reason"].startswith(f"{access}:1:9: tokens must be a list")
        assert await ask(address, tls, SECRET) == "code"
        write_access(access, "archroute_new")
        await log.wait_for("reloaded")
        assert await ask(address, tls, "archroute_new") == "code"
        with pytest.raises(AccessDeniedError, match="does not know the token") as old:
            await ask(address, tls, SECRET)
        assert old.value.reason == "TOKEN_INVALID"
    assert SECRET not in log.text()


def never(folder: Path, settings: Settings) -> FakeEngine:
    raise AssertionError


async def test_a_wrong_file_stops_the_start_before_the_model_is_loaded(
    settings: Settings, access: Path, tmp_path: Path
) -> None:
    access.write_text("tokens: everyone")
    with pytest.raises(AccessFileError, match="tokens must be a list"):
        await Application(replace(settings, access=access), load_engine=never).run()
    (tmp_path / "certificates" / "server.key").write_text("nothing")
    with pytest.raises(CertificateError, match=r"server\.key: is not a private key"):
        await Application(settings, load_engine=never).run()


async def test_without_tls_a_server_refuses_to_be_reached_by_others(tmp_path: Path) -> None:
    with pytest.raises(PlaintextRefused):
        await Application(Settings(model=tmp_path, listen=Address("0.0.0.0", 0)), load_engine=never).run()


async def test_with_tls_or_if_told_so_it_does_not(settings: Settings, tmp_path: Path, log: Log) -> None:
    everywhere = Address("0.0.0.0", 0)
    async with running(replace(settings, listen=everywhere), log):
        pass
    plain = Settings(model=tmp_path, listen=everywhere, allow_plaintext=True)
    async with running(plain, log):
        pass
    assert [line["tls"] for line in log.lines("listening, not ready yet")] == ["server", "none"]
