"""DeviceCache: keys and values that stay in the memory of a device."""

from collections.abc import Sequence
from dataclasses import dataclass

from archroute_server.runtime.device.cache_copies import CacheCopies
from archroute_server.runtime.device.memory import DeviceMemory, TokenBlock


class CacheOverwritten(RuntimeError):
    """The cache that a forward pass returned was read after the next pass had used its memory again."""


@dataclass(slots=True)
class Lease:
    """Whether the memory that a forward pass wrote into still holds what it wrote."""

    ended: bool = False


@dataclass(frozen=True, slots=True)
class DeviceCache:
    """A `KeyValueCache` whose tokens are those of a block from `start` on.

    What a session returns may lie in memory that its next pass uses again: then `lease` ends with that pass.
    A copy made by `slice` or `followed_by` is free to be kept. Both raise `CacheOverwritten`.
    """

    memory: DeviceMemory
    copies: CacheCopies
    block: TokenBlock
    start: int
    tokens: int
    lease: Lease | None = None

    @property
    def nbytes(self) -> int:
        """See `KeyValueCache.nbytes`."""
        return self.memory.nbytes(self.tokens)

    def slice(self, start: int, stop: int) -> "DeviceCache":
        """See `KeyValueCache.slice`."""
        self._check()
        return self._owning(self.copies.slice(self.block, self.start + start, self.start + stop))

    def followed_by(self, others: Sequence["DeviceCache"]) -> "DeviceCache":
        """See `KeyValueCache.followed_by`."""
        return self._owning(self.copies.concatenate([part.whole_block() for part in (self, *others)]))

    def whole_block(self) -> TokenBlock:
        """Return a block of these tokens and no others; without a copy if theirs is such a block."""
        self._check()
        if self.tokens == self.block.tokens:
            return self.block
        return self.copies.slice(self.block, self.start, self.start + self.tokens)

    def _owning(self, block: TokenBlock) -> "DeviceCache":
        return DeviceCache(self.memory, self.copies, block, 0, block.tokens)

    def _check(self) -> None:
        if self.lease is not None and self.lease.ended:
            raise CacheOverwritten(
                "copy what is to be kept of a pass's cache before the next pass: see slice"
            )
