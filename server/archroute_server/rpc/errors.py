"""What can go wrong with a call before, around and after its decision.

Exception
└── CallError
    ├── MalformedRequest      the bytes are not a message of the protocol
    ├── MessageTooLarge       the message is larger than the server is set to accept
    ├── NoDefaultPolicySet    the request names no policies and the server has no default
    ├── AdminDisabled         the server takes no changes
    ├── ServerStarting        not ready yet
    └── ServerStopping        not taking requests any more
"""


class CallError(Exception):
    """A call that cannot be answered; the message is made for the caller."""


class MalformedRequest(CallError):
    """The bytes of a request do not parse."""

    def __init__(self, message_type: str) -> None:
        super().__init__(
            f"the request is not a valid {message_type}: its bytes do not parse; "
            "a string that is not UTF-8 is the usual cause"
        )


class MessageTooLarge(CallError):
    """A request above the server's limit."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the request is {size} bytes long and this server accepts {limit}; "
            "send fewer or shorter messages, or raise --max-message-bytes"
        )


class NoDefaultPolicySet(CallError):
    """Neither the request nor the server says which policies to choose among."""

    def __init__(self) -> None:
        super().__init__(
            "the request names no policies and this server has no default policy set; "
            "send inline_policies, name a policy set, or start the server with --policies"
        )


class AdminDisabled(CallError):
    """A call that would change the server, which was not started to take such calls."""

    def __init__(self) -> None:
        super().__init__(
            "this server takes no calls that change it; start it with --allow-admin, where only those "
            "who may change it can reach it"
        )


class ServerStarting(CallError):
    """The model is not loaded and warm yet."""

    def __init__(self) -> None:
        super().__init__("the server is starting and not ready to decide; try again shortly")


class ServerStopping(CallError):
    """The server takes no further requests."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; send the request to another one")
