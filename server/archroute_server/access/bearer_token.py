"""Bearer tokens: how one is made, and what a server keeps of it.

A token is 32 random bytes, written in base64 after a prefix by which scanners of secrets can find it. A
server keeps its SHA-256 alone. A slow, salted hash, as passwords need it, would add nothing, since nobody
guesses 256 random bits; and it would let anyone keep the server busy with wrong tokens.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from archroute_server.access.limits import CallerLimits
from archroute_server.access.scope import Scope

PREFIX = "archroute_"
_RANDOM_BYTES = 32


def new_token() -> str:
    """Make a token that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def token_digest(token: str) -> str:
    """Return what the access file has of a token: its SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token as the server knows it."""

    name: str
    """Who holds it; goes into the log and the metrics."""
    digest: str
    """See `token_digest`."""
    scopes: frozenset[Scope]
    limits: CallerLimits

    def is_digest(self, digest: str) -> bool:
        """Say whether this is the token's, in a time that does not depend on where they differ."""
        return hmac.compare_digest(self.digest, digest)
