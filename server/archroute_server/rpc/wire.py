"""Bytes to messages.

gRPC hands over the bytes and not the message, because a message that does not parse inside gRPC is answered
with INTERNAL, as if the server were at fault.
"""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from archroute_server.rpc.errors import MalformedRequest, MessageTooLarge

M = TypeVar("M", bound=Message)

# gRPC refuses what is larger than its own limit with a status of its own. Our refusal says more and lets a
# stream go on, so gRPC's limit leaves room above ours.
GRPC_LIMIT_FACTOR = 2


def parse(message_type: type[M], data: bytes) -> M:
    """Return the message. Raises `MalformedRequest`."""
    try:
        return message_type.FromString(data)
    except DecodeError:
        # The cause says no more, and its text may quote the request.
        raise MalformedRequest(message_type.DESCRIPTOR.full_name) from None


def check_size(size: int, limit: int) -> None:
    """Raise `MessageTooLarge` for a message of `size` bytes where `limit` are accepted."""
    if size > limit:
        raise MessageTooLarge(size, limit)
