"""PolicySetStore: policy sets in a folder, a file each, that survive a crash at any byte."""

import fcntl
import hashlib
import os
import re
import sys
from pathlib import Path

import yaml

from archroute_server.catalogue.durable_file import PREFIX, remove_durably, write_durably
from archroute_server.catalogue.errors import PolicyStoreError, PolicyStoreUnwritable
from archroute_server.router.policy import PolicySet
from archroute_server.router.policy_file import PolicyFileError, load_policy_sets
from archroute_server.router.whole_file import sync

_LOCK = ".lock"
_SUFFIX = ".yaml"
_HEADER = "# Kept by archroute serve --policy-store, which expects it unchanged. Revision: "
_MAX_READABLE = 40


class PolicySetStore:
    """A folder with a policies file for each set, whose first line has the set's revision.

    What `write` returned from is there when the store is opened again, and so is what `remove` removed not,
    even if the process is killed or the power fails. In between there is the set as it was or as it was to
    be, and nothing else. The methods block for as long as the disk takes.

    One process at a time may have a store open. Not to be used by two threads at once.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store, which is made if it is not there. Raises `PolicyStoreError`."""
        self.folder = folder
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True)
                sync(folder.parent)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise PolicyStoreError(folder, f"cannot be opened: {error.strerror}") from error
        try:
            self._take_lock()
            self.sets: dict[str, PolicySet] = self._read()
            """By their names, as they are on the disk."""
        except BaseException:
            os.close(self._lock)
            raise

    def path(self, name: str) -> Path:
        """Return where the set of that name is kept.

        Its beginning is for people. The digest is what tells names apart, of which most could be no name of
        a file.
        """
        readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_MAX_READABLE].strip("-")
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        return self.folder / f"{readable or 'set'}-{digest}{_SUFFIX}"

    def write(self, policy_set: PolicySet) -> None:
        """Keep a set, in the place of the one of that name. Raises `PolicyStoreUnwritable`."""
        try:
            write_durably(self.path(policy_set.name), _serialize(policy_set))
        except OSError as error:
            raise PolicyStoreUnwritable(error.strerror or str(error)) from error
        self.sets[policy_set.name] = policy_set

    def remove(self, name: str) -> None:
        """Forget the set of that name, which there must be. Raises `PolicyStoreUnwritable`."""
        try:
            remove_durably(self.path(name))
        except OSError as error:
            raise PolicyStoreUnwritable(error.strerror or str(error)) from error
        del self.sets[name]

    def close(self) -> None:
        """Let others open the store."""
        os.close(self._lock)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            reason = "another server has it open; give each a store of its own"
            raise PolicyStoreError(self.folder, reason) from error

    def _read(self) -> dict[str, PolicySet]:
        sets = {}
        try:
            for path in sorted(self.folder.iterdir()):
                if path.name.startswith(PREFIX):
                    path.unlink()  # the process was killed while it wrote
                elif path.suffix == _SUFFIX:
                    policy_set = self._read_set(path)
                    sets[policy_set.name] = policy_set
        except OSError as error:
            raise PolicyStoreError(self.folder, f"cannot be read: {error.strerror}") from error
        return sets

    def _read_set(self, path: Path) -> PolicySet:
        remedy = "restore the file, or delete it and put the set again"
        try:
            sets = load_policy_sets(path)
        except PolicyFileError as error:
            raise PolicyStoreError(self.folder, f"{error}; {remedy}") from error
        policy_set = sets.get(sets.default_name)
        if path != self.path(policy_set.name):
            raise PolicyStoreError(self.folder, f"{path} was renamed, or its set was; {remedy}")
        with path.open(encoding="utf-8") as file:
            header = file.readline().rstrip("\n")
        if header != _HEADER + policy_set.revision:
            raise PolicyStoreError(
                self.folder, f"{path}:1: its policies are not of the revision that it names; {remedy}"
            )
        return policy_set


def _serialize(policy_set: PolicySet) -> bytes:
    entries: dict[str, object] = {"name": policy_set.name}
    if policy_set.default_policy is not None:
        entries["default_policy"] = policy_set.default_policy
    entries["policies"] = [
        {"name": policy.name, "description": policy.description, "models": list(policy.models)}
        for policy in policy_set.policies
    ]
    # In quotes, so that no text of a caller is taken for anything else, and on one line.
    document = yaml.safe_dump(
        {"policy_sets": [entries]}, default_style='"', sort_keys=False, allow_unicode=True, width=sys.maxsize
    )
    return f"{_HEADER}{policy_set.revision}\n{document}".encode()
