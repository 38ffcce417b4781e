"""A small random transformer in NumPy that keeps the contract of `engine.model.Model`."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.host_cache import HostCache
from archroute_server.runtime.kv_cache import KeyValueCache

HEADS, HEAD_SIZE, LAYERS = 2, 8, 2
HIDDEN = HEADS * HEAD_SIZE


@dataclass
class NumpyModel:
    """Positions are added to the embedding, so a token at a wrong position gives other logits.

    Keeps every `Forward` that it ran, so that tests can count passes and tokens.
    """

    vocabulary: int
    seed: int = 0
    forwards: list[Forward] = field(default_factory=list)
    tree_attention: bool = True

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)

        def weight(*sizes: int) -> npt.NDArray[np.float64]:
            return random.standard_normal(sizes) * 1.5 / np.sqrt(sizes[-1])

        self._embedding = weight(self.vocabulary, HIDDEN) * 4
        self._layers = [[weight(HIDDEN, HIDDEN) for _ in range(4)] for _ in range(LAYERS)]
        self._frequencies = random.uniform(0.05, 1.5, HIDDEN)

    def empty_cache(self) -> KeyValueCache:
        return HostCache(tuple(np.empty((1, HEADS, 0, HEAD_SIZE), np.float32) for _ in range(2 * LAYERS)))

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        assert isinstance(past, HostCache)
        new = len(forward.token_ids)
        assert forward.positions.shape == (new,)
        assert forward.visible.shape == (new, past.tokens + new)
        self.forwards.append(forward)
        hidden = self._embedding[forward.token_ids] + np.sin(forward.positions[:, None] * self._frequencies)
        present: list[npt.NDArray[np.generic]] = []
        for layer, (query, key, value, output) in enumerate(self._layers):
            keys = self._grow(past.arrays[2 * layer], hidden @ key)
            values = self._grow(past.arrays[2 * layer + 1], hidden @ value)
            present += [keys, values]
            queries = (hidden @ query).reshape(new, HEADS, HEAD_SIZE).transpose(1, 0, 2)
            scores = queries @ keys[0].transpose(0, 2, 1) / np.sqrt(HEAD_SIZE)
            scores = np.where(forward.visible, scores, -np.inf)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            mixed = (weights @ values[0]).transpose(1, 0, 2).reshape(new, HIDDEN)
            hidden = np.tanh(hidden + mixed @ output)
        logits = hidden[forward.select] @ self._embedding[forward.candidates].T
        return logits.astype(np.float32), HostCache(tuple(present))

    @staticmethod
    def _grow(past: npt.NDArray[np.generic], states: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        heads = states.reshape(1, -1, HEADS, HEAD_SIZE).transpose(0, 2, 1, 3)
        return np.concatenate([past, heads], axis=2).astype(np.float32)
