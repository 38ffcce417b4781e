"""AccessControl: lets a call in and says whose it is, or refuses it."""

import ipaddress
import time
from collections.abc import Sequence
from urllib.parse import unquote
from weakref import WeakSet

from cachetools import LRUCache

from archroute_server.access.bearer_token import BearerToken
from archroute_server.access.caller import Caller
from archroute_server.access.errors import ScopeMissing, TokenInvalid, TokenMissing
from archroute_server.access.limits import CallerLimits
from archroute_server.access.rules import UNRESTRICTED, AccessRules
from archroute_server.access.scope import scope_of
from archroute_server.access.token_bucket import Clock
from archroute_server.telemetry.caller_name import CallerName

_SCHEME = "bearer"

# Addresses whose limits are remembered: those that were heard from last.
MAX_ADDRESSES = 10_000


class AccessControl:
    """Applies rules, which may be replaced at any time, to calls. Belongs to one thread."""

    def __init__(
        self,
        rules: AccessRules = UNRESTRICTED,
        *,
        max_addresses: int = MAX_ADDRESSES,
        clock: Clock = time.monotonic,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._known: dict[BearerToken, Caller] = {}
        self._anonymous: LRUCache[str, Caller] = LRUCache(max_addresses)
        # Those that are no longer remembered may still have a stream open.
        self._open_to_anyone: WeakSet[Caller] = WeakSet()

    def replace(self, rules: AccessRules) -> None:
        """Go by `rules` from now on, in streams that are open, too.

        Callers whose token stays as it is keep what they have used of their limits.
        """
        withdrawn = self._rules.anonymous - rules.anonymous
        self._rules = rules
        for token in self._known.keys() - set(rules.tokens):
            self._known.pop(token).revoke()
        if withdrawn:
            for caller in self._open_to_anyone:
                caller.revoke()
            self._anonymous.clear()

    def admit(self, method: str, authorizations: Sequence[str], peer: str) -> Caller:
        """Return who makes the call.

        `method` is its full name, `authorizations` are the values of its `authorization` metadata, and `peer`
        is where it comes from, as gRPC writes it. Raises the `AccessDenied` errors.
        """
        rules = self._rules
        scope = scope_of(method)
        # Without tokens of its own a server has no use for those that a caller sends to others as well.
        token = self._token(authorizations) if rules.tokens and authorizations else None
        if token is not None:
            # What anyone may do is not lost by saying who one is.
            if scope not in token.scopes | rules.anonymous:
                raise ScopeMissing(f"the token {token.name!r}", scope)
            return self._of_token(token)
        if scope not in rules.anonymous:
            if rules.tokens and scope is not None:
                raise TokenMissing
            raise ScopeMissing("a caller without a token", scope)
        return self._of_address(address_of(peer), rules.anonymous_limits)

    def _token(self, authorizations: Sequence[str]) -> BearerToken:
        scheme, _, secret = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != _SCHEME:
            raise TokenInvalid("the `authorization` of this call holds no single bearer token")
        token = self._rules.find(secret.strip())
        if token is None:
            raise TokenInvalid("this server does not know the token of this call")
        return token

    def _of_token(self, token: BearerToken) -> Caller:
        caller = self._known.get(token)
        if caller is None:
            name = CallerName(token.name, known=True)
            caller = self._known[token] = Caller(name, token.limits, self._clock)
        return caller

    def _of_address(self, address: str, limits: CallerLimits) -> Caller:
        caller = self._anonymous.get(address)
        if caller is None or caller.limits != limits:
            name = CallerName(address, known=False)
            caller = self._anonymous[address] = Caller(name, limits, self._clock)
            self._open_to_anyone.add(caller)
        return caller


def address_of(peer: str) -> str:
    """Return the address of a peer as gRPC writes it, without the port, which differs for each connection.

    `ipv4:10.0.0.1:5000` becomes `ipv4:10.0.0.1`, `ipv6:%5B::1%5D:5000` becomes `ipv6:[::1]`; `unix:` stays.
    """
    family, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{family}:"
    return f"{family}:[{address}]" if address.version == 6 else f"{family}:{address}"
