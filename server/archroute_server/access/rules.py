"""AccessRules: who may do what, as an access file says it."""

from collections.abc import Sequence
from dataclasses import dataclass

from archroute_server.access.bearer_token import BearerToken, token_digest
from archroute_server.access.limits import UNLIMITED, CallerLimits
from archroute_server.access.scope import Scope


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The tokens of a server, and what callers without one may do."""

    anonymous: frozenset[Scope]
    """The scopes of callers without a token."""
    anonymous_limits: CallerLimits = UNLIMITED
    """Those of each address that calls without a token."""
    tokens: Sequence[BearerToken] = ()

    def find(self, token: str) -> BearerToken | None:
        """Return what is known of a token that a caller sent."""
        digest = token_digest(token)
        found = None
        # All of them, so that the time does not tell which one it was.
        for known in self.tokens:
            if known.is_digest(digest):
                found = known
        return found


UNRESTRICTED = AccessRules(frozenset(Scope))
"""The rules of a server without an access file: who can reach it may do all that it does."""
