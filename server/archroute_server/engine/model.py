"""What decoding needs of a model; the sessions of `runtime` are such, and tests bring their own."""

from typing import Protocol

from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache


class Model(Protocol):
    """Runs forward passes over a KV cache."""

    @property
    def tree_attention(self) -> bool:
        """Whether a `Forward` may hold trees; if not, each token must see every token before it."""

    def empty_cache(self) -> KeyValueCache:
        """Return a cache of no tokens."""

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """Run one forward pass: logits `[M, C]`, and the cache of all P + N tokens.

        The cache may lie in memory that the next pass writes into: what is to be kept is copied with
        `KeyValueCache.slice` before the next pass, which may be given it as its past.
        """
