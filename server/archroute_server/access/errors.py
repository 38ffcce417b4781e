"""Why a call is refused to its caller.

Exception
├── AccessDenied
│   ├── TokenMissing        the method is not for callers without a token
│   ├── TokenInvalid        the token is none of this server's
│   └── ScopeMissing        the caller may not call the method
└── CallerLimited           the caller has asked for too much; `retry_after` says when to come again
    ├── CallerBusy          too many requests of the caller are under way
    └── CallerTooFast       too many requests of the caller came in too short a time

No message holds a token.
"""

from archroute_server.access.scope import Scope


class AccessDenied(Exception):
    """The caller is not who may do this; asking again does not help."""


class TokenMissing(AccessDenied):
    """Without a token nobody may call the method."""

    def __init__(self) -> None:
        super().__init__("this call needs a token; send it in the metadata, as `authorization: Bearer TOKEN`")


class TokenInvalid(AccessDenied):
    """What came as a token is not one that this server knows."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; send `authorization: Bearer TOKEN` once, with a token of this server's access file"
        )


class ScopeMissing(AccessDenied):
    """The caller, known or not, lacks the scope that the method asks for; `scope` is None if none will do."""

    def __init__(self, caller: str, scope: Scope | None) -> None:
        if scope is None:
            reason = "this method is not in the server's table of scopes, so nobody may call it"
        else:
            reason = f"{caller} may not do this without the scope `{scope}`; the access file gives scopes"
        super().__init__(reason)


class CallerLimited(Exception):
    """The caller is at one of its limits. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CallerBusy(CallerLimited):
    """As many requests of the caller are under way as may be."""

    def __init__(self, limit: int, retry_after: float) -> None:
        super().__init__(
            f"{limit} of your requests are under way, which is your limit (concurrent_requests); "
            "wait for one of them",
            retry_after,
        )


class CallerTooFast(CallerLimited):
    """The caller has used up what it may ask for at this moment."""

    def __init__(self, rate: float, retry_after: float) -> None:
        super().__init__(
            f"you have sent more than your limit of {rate:g} requests a second (requests_per_second); "
            f"try again in {retry_after:.3g} s",
            retry_after,
        )
