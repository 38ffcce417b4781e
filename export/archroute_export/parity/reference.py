"""The reference: a decoder-only language model in plain NumPy, read from the checkpoint layer by layer.

It shares no code with the graph builder. Products are taken in float32, norms, rotations and softmax in
float64. One layer's weights are in memory at a time, so the largest supported models fit.
Formulas: RMSNorm, arXiv 1910.07467; rotary embedding, arXiv 2104.09864, in the half-split layout of
Hugging Face checkpoints; grouped-query attention, arXiv 2305.13245; SwiGLU, arXiv 2002.05202.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.shape import ModelShape

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

REFERENCE_NAME = "numpy-float32"

# Called with the layers done so far and the layers in all.
Progress = Callable[[int, int], None]


def reference_logits(
    checkpoint: Checkpoint,
    sequences: Sequence[Sequence[int]],
    candidates: npt.NDArray[np.int64],
    progress: Progress | None = None,
) -> list[Floats]:
    """Return, for each sequence of token ids, the candidates' logits at every position: `[n, C]`."""
    shape = checkpoint.shape
    lengths = [len(sequence) for sequence in sequences]
    borders = np.cumsum(lengths)[:-1]
    embedding = checkpoint.tensor("model.embed_tokens.weight")
    hidden = embedding[np.concatenate([np.asarray(sequence) for sequence in sequences])]
    columns = (embedding if shape.tied_head else checkpoint.tensor("lm_head.weight"))[candidates]
    del embedding
    for layer in range(shape.layers):
        weights = _LayerWeights(checkpoint, layer)
        normalized = _norm(hidden, weights("input_layernorm.weight"), shape)
        query, key, value = (weights.project(f"self_attn.{name}_proj", normalized) for name in "qkv")
        parts = (np.split(states, borders) for states in (query, key, value))
        mixed = [_attend(q, k, v, shape) for q, k, v in zip(*parts, strict=True)]
        hidden = hidden + weights.project("self_attn.o_proj", np.concatenate(mixed))
        normalized = _norm(hidden, weights("post_attention_layernorm.weight"), shape)
        gate = weights.project("mlp.gate_proj", normalized)
        up = weights.project("mlp.up_proj", normalized)
        # silu(x) = x * sigmoid(x), written with tanh because exp overflows.
        activated = gate * (0.5 * (1 + np.tanh(0.5 * gate)))
        hidden = hidden + weights.project("mlp.down_proj", activated * up)
        if progress is not None:
            progress(layer + 1, shape.layers)
    final = _norm(hidden, checkpoint.tensor("model.norm.weight"), shape)
    return np.split(final @ columns.T, borders)


class _LayerWeights:
    """The tensors of one layer by their short names."""

    def __init__(self, checkpoint: Checkpoint, layer: int) -> None:
        self._checkpoint = checkpoint
        self._prefix = f"model.layers.{layer}."
        self._names = frozenset(checkpoint.tensor_names)

    def __call__(self, name: str) -> Floats:
        return self._checkpoint.tensor(self._prefix + name)

    def project(self, name: str, hidden: Floats) -> Floats:
        product = hidden @ self(f"{name}.weight").T
        bias = f"{name}.bias"
        return product + self(bias) if self._prefix + bias in self._names else product


def _norm(hidden: Floats, weight: Floats, shape: ModelShape) -> Floats:
    exact = hidden.astype(np.float64)
    exact /= np.sqrt(np.mean(exact * exact, axis=-1, keepdims=True) + shape.norm_epsilon)
    return (exact * weight).astype(np.float32)


def _attend(query: Floats, key: Floats, value: Floats, shape: ModelShape) -> Floats:
    """Causal attention of one sequence: `[n, heads * head_size]` from projections of n tokens."""
    tokens = len(query)
    queries = _rotate(query.reshape(tokens, shape.attention_heads, shape.head_size), shape)
    keys = _rotate(key.reshape(tokens, shape.key_value_heads, shape.head_size), shape)
    values = value.reshape(tokens, shape.key_value_heads, shape.head_size)
    future = np.triu(np.ones((tokens, tokens), np.bool_), 1)
    mixed = np.empty((tokens, shape.attention_heads, shape.head_size), np.float32)
    group = shape.attention_heads // shape.key_value_heads
    for head in range(shape.attention_heads):
        scores = (queries[:, head] @ keys[:, head // group].T).astype(np.float64) / np.sqrt(shape.head_size)
        scores[future] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed[:, head] = scores.astype(np.float32) @ values[:, head // group]
    return mixed.reshape(tokens, -1)


def _rotate(states: Floats, shape: ModelShape) -> Floats:
    """Rotate `[n, heads, head_size]`: element i of a head pairs with element i + head_size / 2."""
    angles = np.arange(len(states))[:, None, None] * shape.rope_frequencies()
    first, second = np.split(states.astype(np.float64), 2, axis=-1)
    cosine, sine = np.cos(angles), np.sin(angles)
    rotated = np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return rotated.astype(np.float32)
