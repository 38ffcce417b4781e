"""Rewards in a file, which several processes of one machine may share.

    {"version": 1, "rewards": {"code_generation": {"large-coder": {"gained": 12.5, "missed": 3.5}}}}

The file is replaced as a whole, by a rename: who reads it sees it before or after, and never half. Who writes
holds the lock of `<file>.lock` from reading to replacing, so that no reward gets lost between two processes.
The lock goes with the process that held it, however that ended.
"""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archroute.selection.rewards import Rewards

__all__ = ["FileRewards"]

_VERSION = 1

# Never changed once made, so that it can be read without a lock.
_Table = Mapping[str, Mapping[str, Rewards]]
_Stamp = tuple[int, int, int]


class FileRewards:
    """Keeps rewards in a file. For Linux and macOS, and not for a network file system without locks."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads nothing yet. A file that is not there is one without rewards."""
        self._path = Path(path)
        # Two, so that who reads does not wait for a disk that somebody writes to.
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._seen: _Stamp | None = None
        self._table: _Table = {}

    def of(self, policy: str) -> Mapping[str, Rewards]:
        """The rewards of a policy's models. Reads the file only if it changed since.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is none of this format.
        """
        return self._current().get(policy, {})

    def add(self, policy: str, model: str, reward: float) -> None:
        """Adds one reward, and returns when it is on the disk.

        Raises:
            OSError: The file cannot be written.
            ValueError: The file is none of this format; it is left as it is.
        """
        with self._writing, self._locked():
            table = self._current()
            models = table.get(policy, {})
            after = models.get(model, Rewards()).plus(reward)
            self._write({**table, policy: {**models, model: after}})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with Path(f"{self._path}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield  # closing it lets go of the lock

    def _current(self) -> _Table:
        with self._reading:
            try:
                seen = _stamp(self._path)
            except FileNotFoundError:
                self._seen, self._table = None, {}
            else:
                if seen != self._seen:
                    self._table = _read(self._path)
                    self._seen = seen
            return self._table

    def _write(self, table: _Table) -> None:
        # One name does: whoever writes holds the lock.
        new = Path(f"{self._path}.new")
        rewards = {
            policy: {name: {"gained": each.gained, "missed": each.missed} for name, each in models.items()}
            for policy, models in table.items()
        }
        with new.open("w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "rewards": rewards}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


def _stamp(path: Path) -> _Stamp:
    # A rename gives another inode, unless the number of the file before is used again.
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> _Table:
    try:
        document: Any = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            raise ValueError(f"its version is not {_VERSION}")
        return {
            str(policy): {str(name): _rewards(each) for name, each in models.items()}
            for policy, models in document["rewards"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no file of rewards; move it away to start anew: {error}") from error


def _rewards(value: Any) -> Rewards:
    gained, missed = float(value["gained"]), float(value["missed"])
    if not (0 <= gained < float("inf") and 0 <= missed < float("inf")):
        raise ValueError("a sum of rewards is below 0 or no number")
    return Rewards(gained, missed)
