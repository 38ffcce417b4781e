import pytest

from archroute.v1 import router_pb2
from archroute_server.rpc.errors import MalformedRequest, MessageTooLarge
from archroute_server.rpc.wire import check_size, parse


def test_a_message_survives_the_wire() -> None:
    request = router_pb2.RouteRequest(session_id="é😀")
    assert parse(router_pb2.RouteRequest, request.SerializeToString()) == request


@pytest.mark.parametrize(
    "data",
    [b"\x2a\x02\xff\xfe", b"\x2a\x02\xc3", b"\x2a\x03\xed\xa0\xbd", b"\xff", b"\x2a\x7f"],
    ids=["not UTF-8", "half a character", "a surrogate", "no field", "truncated"],
)
def test_bytes_that_do_not_parse(data: bytes) -> None:
    with pytest.raises(MalformedRequest, match=r"valid archroute\.v1\.RouteRequest: .* UTF-8"):
        parse(router_pb2.RouteRequest, data)


def test_a_message_may_be_as_large_as_the_limit() -> None:
    check_size(8, 8)
    with pytest.raises(
        MessageTooLarge, match=r"9 bytes long and this server accepts 8; .*--max-message-bytes"
    ):
        check_size(9, 8)
