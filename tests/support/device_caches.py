"""What a KV cache holds, wherever it lies."""

import numpy as np

from archroute_server.runtime.device.cache import DeviceCache
from archroute_server.runtime.host_cache import HostCache
from archroute_server.runtime.kv_cache import KeyValueCache


def keys_and_values(cache: KeyValueCache) -> np.ndarray:
    """Return the keys and values of every layer as `[2 * layers, heads, tokens, head_size]`."""
    if isinstance(cache, HostCache):
        return np.concatenate(cache.arrays)
    assert isinstance(cache, DeviceCache)
    block = cache.whole_block()
    return np.array(block.memory.numpy()).view(cache.memory.float_type)
