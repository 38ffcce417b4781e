"""What can keep a policy set from being held, changed or removed.

Exception
├── UnservablePolicySet       the model cannot decide by it
├── PolicyStoreError          the store cannot be opened
└── ChangeRefused
    ├── NoPolicyStore         there is nowhere to keep it
    ├── PolicySetReadOnly     it comes from a file
    ├── RevisionMismatch      it is not what the caller takes it for
    ├── PolicyStoreFull       there are as many as may be
    └── PolicyStoreUnwritable the disk refused it
"""

from pathlib import Path

from archroute_server.router.errors import InvalidRequest, shorten


class UnservablePolicySet(Exception):
    """A policy set that no request could be decided with; the message says where it stands, which and why."""

    def __init__(self, name: str, place: str, error: InvalidRequest) -> None:
        super().__init__(f"{place}: the policy set {name!r} cannot be served with this model: {error}")


class PolicyStoreError(Exception):
    """A store that cannot be used as it is; the message names the folder or file and says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the policy store {path}: {reason}")


class ChangeRefused(Exception):
    """A change of a policy set that was not made; nothing was changed."""


class NoPolicyStore(ChangeRefused):
    """The server was started without a store."""

    def __init__(self) -> None:
        super().__init__(
            "this server has no policy store to change; start it with --policy-store, or edit its files"
        )


class PolicySetReadOnly(ChangeRefused):
    """The set comes from the server's files."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the policy set {shorten(name)!r} comes from a file of the server, which is what to edit; "
            "a set of the store needs another name"
        )


class RevisionMismatch(ChangeRefused):
    """The set has another revision than the caller named; `current` is empty if there is no such set."""

    def __init__(self, name: str, wanted: str, current: str) -> None:
        self.current = current
        expected = f"not {shorten(wanted, 80)}" if wanted else "and was expected not to be there"
        there = f"has the revision {current}, {expected}" if current else f"is not there, {expected}"
        super().__init__(f"the policy set {shorten(name)!r} {there}; read it again before changing it")


class PolicyStoreFull(ChangeRefused):
    """The store holds as many sets as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the policy store holds {limit} sets, which is the limit; delete one")


class PolicyStoreUnwritable(ChangeRefused):
    """The set could not be written; the old one goes on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the policy store cannot be written: {reason}; what was there goes on")
