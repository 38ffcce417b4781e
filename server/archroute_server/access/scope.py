"""What a caller may be allowed to do, and which methods ask for it."""

from enum import StrEnum
from fnmatch import fnmatchcase


class Scope(StrEnum):
    """A permission. None includes another."""

    ROUTE = "route"
    """To have conversations decided."""
    READ = "read"
    """To see policy sets, and to have some checked."""
    ADMIN = "admin"
    """To change policy sets."""
    HEALTH = "health"
    """To ask whether the server is ready."""
    REFLECTION = "reflection"
    """To see the protocol."""


METHODS: tuple[tuple[str, Scope], ...] = (
    ("/archroute.v1.RouterService/Route", Scope.ROUTE),
    ("/archroute.v1.RouterService/RouteStream", Scope.ROUTE),
    ("/archroute.v1.*/Get*", Scope.READ),
    ("/archroute.v1.*/List*", Scope.READ),
    ("/archroute.v1.*/Validate*", Scope.READ),
    ("/archroute.v1.*/Put*", Scope.ADMIN),
    ("/archroute.v1.*/Delete*", Scope.ADMIN),
    ("/grpc.health.v1.Health/*", Scope.HEALTH),
    ("/grpc.reflection.v1.ServerReflection/*", Scope.REFLECTION),
    ("/grpc.reflection.v1alpha.ServerReflection/*", Scope.REFLECTION),
)
"""The scope that each method asks for, by its full name; the first pattern that matches counts."""


def scope_of(method: str) -> Scope | None:
    """Return the scope that a method asks for; None for one that nobody may call."""
    for pattern, scope in METHODS:
        if fnmatchcase(method, pattern):
            return scope
    return None
