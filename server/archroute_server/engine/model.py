"""What decoding needs of a model; `runtime.session.Session` is one, and tests bring their own."""

from typing import Protocol

from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache


class Model(Protocol):
    """Runs forward passes over a KV cache."""

    def empty_cache(self) -> KeyValueCache:
        """Return a cache of no tokens."""

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        """Run one forward pass: logits `[M, C]`, and the cache of all P + N tokens."""
