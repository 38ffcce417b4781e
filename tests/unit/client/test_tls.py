from pathlib import Path
from typing import Any

import grpc
import pytest

from archroute import AsyncRouter, InvalidRequestError, Router, Tls
from archroute.bearer_token import authorization, is_local
from archroute.endpoint import Endpoint

TWINS = pytest.mark.parametrize("client", [Router, AsyncRouter])

LOCAL = [
    "localhost:50051",
    "127.0.0.1:50051",
    "127.8.8.8:1",
    "[::1]:50051",
    "unix:/run/archroute.sock",
    "unix-abstract:archroute",
    "dns:///localhost:50051",
    "dns:localhost:50051",
    "ipv4:127.0.0.1:50051,127.0.0.1:50052",
    "ipv6:[::1]:50051",
]
ELSEWHERE = [
    "router:50051",
    "10.0.0.1:50051",
    "0.0.0.0:50051",
    "[2001:db8::1]:50051",
    "localhost.example.com:50051",
    "127.0.0.1.example.com:50051",
    "dns:///router:50051",
    "dns://10.0.0.1/localhost:50051",
    "ipv4:127.0.0.1:50051,10.0.0.1:50051",
    "xds:///localhost",
]


@pytest.mark.parametrize("address", LOCAL)
def test_a_token_may_go_to_this_machine_in_plain_text(address: str) -> None:
    assert is_local(address)
    assert authorization("archroute_t", address, encrypted=False) == (
        ("authorization", "Bearer archroute_t"),
    )


def test_a_token_in_plain_text_does_not_go_through_a_proxy() -> None:
    option = ("grpc.enable_http_proxy", 0)
    plain = Endpoint.checked("localhost:1", 1, [("grpc.enable_http_proxy", 1)], token="archroute_t")
    assert option in plain.channel_options
    for other in (
        Endpoint.checked("localhost:1", 1, ()),
        Endpoint.checked("localhost:1", 1, (), token="archroute_t", encrypted=True),
    ):
        assert option not in other.channel_options


@TWINS
@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_token_goes_elsewhere_only_encrypted(client: Any, address: str) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"token: would be sent .* in plain text.* `tls`"
    ) as refused:
        client(address, token="archroute_t")
    assert "archroute_t" not in str(refused.value)
    client(address, token="archroute_t", tls=True)
    client(address, token="archroute_t", credentials=grpc.ssl_channel_credentials())


@TWINS
@pytest.mark.parametrize("token", ["", "two words", "line\n", "é", "\udc80", 7])
def test_a_token_that_is_none(client: Any, token: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^token: ") as refused:
        client("localhost:1", token=token)
    assert not token or str(token) not in str(refused.value)


@TWINS
def test_a_token_is_not_shown(client: Any) -> None:
    router = client("localhost:1", token="archroute_t")
    assert "archroute_t" not in repr(router) + repr(router._endpoint)


@TWINS
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls": "yes"}, "tls: must be True, False or an archroute.Tls, not a str"),
        ({"tls": Tls(key="k.pem")}, "tls: a certificate and its key are needed together"),
        ({"tls": Tls(certificate="c.pem")}, "tls: a certificate and its key are needed together"),
        ({"tls": Tls(ca="nowhere.pem")}, "tls.ca: nowhere.pem cannot be read: No such file or directory"),
        (
            {"tls": True, "credentials": grpc.ssl_channel_credentials()},
            "tls: give either `tls` or `credentials`",
        ),
    ],
)
def test_tls_that_cannot_be(client: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        client("localhost:1", **options)
    assert str(refused.value) == said


def test_a_file_that_is_not_pem_is_named_before_any_call(tmp_path: Path) -> None:
    path = tmp_path / "ca.der"
    path.write_bytes(b"\x30\x82")
    with pytest.raises(InvalidRequestError, match=r"tls\.ca: .*ca\.der is not in PEM"):
        Router("localhost:1", tls=Tls(ca=path))
