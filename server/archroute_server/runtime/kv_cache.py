"""KeyValueCache: the keys and values of tokens that the model has already read."""

from collections.abc import Iterator, Sequence
from typing import Protocol, Self


class KeyValueCache(Protocol):
    """Keys and values of `tokens` tokens, read-only and so free to share.

    They lie where the session that made them reads them fastest: `HostCache` in the memory of this process,
    `DeviceCache` in that of a GPU. All caches of one session are of one kind.
    """

    @property
    def tokens(self) -> int:
        """How many tokens are cached."""

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""

    def slice(self, start: int, stop: int) -> Self:
        """Copy the tokens from `start` up to `stop` into memory of their own."""

    def followed_by(self, others: Sequence[Self]) -> Self:
        """Join the consecutive parts of one sequence that begins with this one, in memory of its own."""


def cache_names(side: str, layers: int) -> Iterator[str]:
    """Give the names of a graph's inputs or outputs for a cache, the key and the value of each layer in turn.

    `side` is what the names begin with: in archroute's own graphs "past" or "present".
    """
    for layer in range(layers):
        yield f"{side}.{layer}.key"
        yield f"{side}.{layer}.value"


def concatenate(parts: Sequence[KeyValueCache]) -> KeyValueCache:
    """Join consecutive parts of one sequence; a single part is returned as it is, without a copy."""
    first, *others = parts
    return first.followed_by(others) if others else first
