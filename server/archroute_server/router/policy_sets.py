"""The policy sets that a server holds."""

from collections.abc import Iterable

from archroute_server.router.errors import PolicySetNotFound
from archroute_server.router.policy import PolicySet


class PolicySets:
    """Policy sets by name, one of them the default.

    `default_name` may be left out if there is only one set. Raises `ValueError` for a set without a name, two
    sets with the same name, several sets and no default, or a default that is not among them. Holding no
    sets at all is fine: requests then bring their policies with them.
    """

    def __init__(self, sets: Iterable[PolicySet] = (), default_name: str = "") -> None:
        self._by_name: dict[str, PolicySet] = {}
        for policy_set in sets:
            if not policy_set.name:
                raise ValueError("a policy set needs a name")
            if policy_set.name in self._by_name:
                raise ValueError(f"two policy sets are called {policy_set.name!r}")
            self._by_name[policy_set.name] = policy_set
        if not default_name and len(self._by_name) == 1:
            (default_name,) = self._by_name
        if not default_name and self._by_name:
            raise ValueError("with several policy sets, one must be named as the default")
        if default_name and default_name not in self._by_name:
            raise ValueError(f"the default policy set {default_name!r} is not among the sets")
        self.default_name: str = default_name
        """Empty only if there are no sets."""

    def get(self, name: str) -> PolicySet:
        """Return the set of that name, or the default one for "". Raises `PolicySetNotFound`."""
        try:
            return self._by_name[name or self.default_name]
        except KeyError:
            raise PolicySetNotFound(name, self.names()) from None

    def names(self) -> tuple[str, ...]:
        """Name the sets, in alphabetical order."""
        return tuple(sorted(self._by_name))
