import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.rpc.address import (
    Address,
    AddressUnavailable,
    InvalidAddress,
    PlaintextRefused,
    PortInUse,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50051)),
        ("router.internal:1", Address("router.internal", 1)),
        ("[::1]:0", Address("::1", 0)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
        ("unix:/run/archroute.sock", Address(unix_path="/run/archroute.sock")),
        ("unix:relative.sock", Address(unix_path="relative.sock")),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "50051",
        ":50051",
        "host",
        "host:",
        "host:port",
        "host:-1",
        "host:65536",
        "host:٥٠",
        "::1:50051",
        "[]:1",
        "unix:",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        Address.parse(text)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except InvalidAddress:
        return
    assert Address.parse(str(address)) == address


def test_a_port_that_the_system_chose() -> None:
    assert Address("::1", 0).with_port(7).port == 7
    assert Address(unix_path="x").with_port(7) == Address(unix_path="x")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "localhost:1", "unix:/run/s", "nowhere.invalid:1"]
)
def test_an_address_that_other_machines_cannot_reach_needs_no_encryption(address: str) -> None:
    Address.parse(address).check_local()


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"])
def test_an_address_that_others_can_reach_does(address: str) -> None:
    with pytest.raises(
        PlaintextRefused, match=r"without encryption.* --tls-certificate .*--allow-plaintext"
    ) as no:
        Address.parse(address).check_local()
    assert address in str(no.value)


def test_a_free_port_is_available() -> None:
    Address("127.0.0.1", 0).check_available()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_taken_port_is_in_use(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"{host}:{port}: another process .* --listen"):
            Address(host, port).check_available()


def test_a_host_name_that_nobody_knows() -> None:
    with pytest.raises(AddressUnavailable, match=r"'nowhere\.invalid' is unknown"):
        Address("nowhere.invalid", 1).check_available()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(AddressUnavailable, match=r"192\.0\.2\.1:0: cannot assign requested address"):
        Address("192.0.2.1", 0).check_available()


def test_a_unix_socket_that_is_served_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        with pytest.raises(PortInUse, match="another process"):
            Address(unix_path=str(path)).check_available()


def test_a_unix_socket_of_a_server_that_is_gone_is_available(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    Address(unix_path=str(path)).check_available()
    assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("kept")
    with pytest.raises(AddressUnavailable, match="not a socket"):
        Address(unix_path=str(path)).check_available()
    assert path.read_text() == "kept"


def test_a_unix_socket_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AddressUnavailable, match="not a folder"):
        Address(unix_path=str(tmp_path / "missing" / "s")).check_available()
