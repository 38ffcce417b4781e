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
        self._stored: frozenset[str] = frozenset()
        for policy_set in sets:
            self._add(policy_set)
        if not default_name and len(self._by_name) == 1:
            (default_name,) = self._by_name
        if not default_name and self._by_name:
            raise ValueError("with several policy sets, one must be named as the default")
        if default_name and default_name not in self._by_name:
            raise ValueError(f"the default policy set {default_name!r} is not among the sets")
        self.default_name: str = default_name
        """Empty if there are no sets but stored ones."""

    def with_stored(self, sets: Iterable[PolicySet]) -> "PolicySets":
        """Return these sets with those of a store beside them, none of which is ever the default.

        Raises `ValueError` for a name that is taken.
        """
        together = PolicySets(self._by_name.values(), self.default_name)
        for policy_set in sets:
            together._add(policy_set)
        together._stored = frozenset(together._by_name.keys() - self._by_name.keys())
        return together

    def is_stored(self, name: str) -> bool:
        """Say whether the set of that name came from a store."""
        return name in self._stored

    def get(self, name: str) -> PolicySet:
        """Return the set of that name, or the default one for "". Raises `PolicySetNotFound`."""
        try:
            return self._by_name[name or self.default_name]
        except KeyError:
            raise PolicySetNotFound(name, self.names()) from None

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def names(self) -> tuple[str, ...]:
        """Name the sets, in alphabetical order."""
        return tuple(sorted(self._by_name))

    def _add(self, policy_set: PolicySet) -> None:
        if not policy_set.name:
            raise ValueError("a policy set needs a name")
        if policy_set.name in self._by_name:
            raise ValueError(f"two policy sets are called {policy_set.name!r}")
        self._by_name[policy_set.name] = policy_set
