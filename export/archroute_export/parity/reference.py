"""The reference: a decoder-only language model in plain NumPy, read from the checkpoint layer by layer.

It shares no code with the graph builder, and knows neither a cache nor an attention bias. Products and
softmax are taken in float32, norms and rotations in float64. One layer's weights are in memory at a time,
so the largest supported models fit.
Formulas: RMSNorm, arXiv 1910.07467; rotary embedding, arXiv 2104.09864, in the half-split layout of
Hugging Face checkpoints; grouped-query attention, arXiv 2305.13245; SwiGLU, arXiv 2002.05202.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.shape import ModelShape
from archroute_export.checkpoint.tensors import Tensors
from archroute_export.parity.case import ParityCase

Floats = npt.NDArray[np.float32]

REFERENCE_NAME = "numpy-float32"

# Called with the layers done so far and the layers in all.
Progress = Callable[[int, int], None]

# Called with a layer's index, the name of one of its linear inputs, and that input: `[tokens, channels]`.
Observe = Callable[[int, str, Floats], None]


def reference_logits(
    tensors: Tensors,
    cases: Sequence[ParityCase],
    progress: Progress | None = None,
    observe: Observe = lambda layer, name, states: None,
) -> list[list[Floats]]:
    """Return, for each case and each of its answers, the logits that `ParityCase` asks for.

    Every prompt is read once, and each of its answers behind it.
    """
    shape = tensors.shape
    texts = [_Text(case) for case in cases]
    borders = np.cumsum([text.tokens for text in texts])[:-1]
    embedding = tensors.tensor("model.embed_tokens.weight")
    hidden = embedding[np.concatenate([text.token_ids for text in texts])]
    head = embedding if shape.tied_head else tensors.tensor("lm_head.weight")
    columns = [head[case.candidates] for case in cases]
    del embedding, head
    for layer in range(shape.layers):
        weights = _LayerWeights(tensors, layer)
        normalized = _norm(hidden, weights("input_layernorm.weight"), shape)
        observe(layer, "attention_input", normalized)
        query, key, value = (weights.project(f"self_attn.{name}_proj", normalized) for name in "qkv")
        parts = (np.split(states, borders) for states in (query, key, value))
        mixed = np.concatenate(
            [text.attend(q, k, v, shape) for text, q, k, v in zip(texts, *parts, strict=True)]
        )
        observe(layer, "attention_output", mixed)
        hidden = hidden + weights.project("self_attn.o_proj", mixed)
        normalized = _norm(hidden, weights("post_attention_layernorm.weight"), shape)
        observe(layer, "feed_forward_input", normalized)
        gate = weights.project("mlp.gate_proj", normalized)
        up = weights.project("mlp.up_proj", normalized)
        # silu(x) = x * sigmoid(x), written with tanh because exp overflows.
        gated = gate * (0.5 * (1 + np.tanh(0.5 * gate))) * up
        observe(layer, "gated", gated)
        hidden = hidden + weights.project("mlp.down_proj", gated)
        if progress is not None:
            progress(layer + 1, shape.layers)
    final = np.split(_norm(hidden, tensors.tensor("model.norm.weight"), shape), borders)
    return [
        [states[rows] @ candidates.T for rows in text.reading_rows()]
        for text, states, candidates in zip(texts, final, columns, strict=True)
    ]


class _Text:
    """The rows of one case: its prompt, then its answers, each of which continues the prompt."""

    def __init__(self, case: ParityCase) -> None:
        self.token_ids = np.concatenate([np.array(part, np.int64) for part in (case.prompt, *case.answers)])
        self.tokens = len(self.token_ids)
        self._prompt = np.arange(len(case.prompt))
        starts = len(case.prompt) + np.cumsum([0, *map(len, case.answers)])
        self._answers = [np.arange(start, stop) for start, stop in pairwise(starts)]

    def attend(self, query: Floats, key: Floats, value: Floats, shape: ModelShape) -> Floats:
        """Mix the values of each row's own sequence: `[tokens, heads * head_size]`."""
        mixed = np.empty_like(query)
        for rows, sequence in self._sequences():
            mixed[rows] = _attend(query[rows], key[sequence], value[sequence], shape)
        return mixed

    def reading_rows(self) -> list[npt.NDArray[np.int64]]:
        """Return, for each answer, the prompt's last row and the answer's own."""
        return [np.concatenate([self._prompt[-1:], rows]) for rows in self._answers]

    def _sequences(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield sets of rows, each with the rows of the sequence that it is the end of."""
        yield self._prompt, self._prompt
        for rows in self._answers:
            yield rows, np.concatenate([self._prompt, rows])


class _LayerWeights:
    """The tensors of one layer by their short names."""

    def __init__(self, tensors: Tensors, layer: int) -> None:
        self._tensors = tensors
        self._prefix = f"model.layers.{layer}."
        self._names = frozenset(tensors.tensor_names)

    def __call__(self, name: str) -> Floats:
        return self._tensors.tensor(self._prefix + name)

    def project(self, name: str, hidden: Floats) -> Floats:
        product = hidden @ self(f"{name}.weight").T
        bias = f"{name}.bias"
        return product + self(bias) if self._prefix + bias in self._names else product


def _norm(hidden: Floats, weight: Floats, shape: ModelShape) -> Floats:
    exact = hidden.astype(np.float64)
    exact /= np.sqrt(np.mean(exact * exact, axis=-1, keepdims=True) + shape.norm_epsilon)
    return (exact * weight).astype(np.float32)


def _attend(query: Floats, key: Floats, value: Floats, shape: ModelShape) -> Floats:
    """Causal attention of the last `len(query)` tokens of a sequence: `[n, heads * head_size]`."""
    new, total = len(query), len(key)
    queries = _rotate(query.reshape(new, shape.attention_heads, shape.head_size), total - new, shape)
    keys = _rotate(key.reshape(total, shape.key_value_heads, shape.head_size), 0, shape)
    values = value.reshape(total, shape.key_value_heads, shape.head_size)
    future = np.triu(np.full((new, total), -np.inf, np.float32), total - new + 1)
    scale = np.float32(shape.head_size**-0.5)
    mixed = np.empty((new, shape.attention_heads, shape.head_size), np.float32)
    group = shape.attention_heads // shape.key_value_heads
    for head in range(shape.attention_heads):
        scores = queries[:, head] @ keys[:, head // group].T
        scores *= scale
        scores += future
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed[:, head] = scores @ values[:, head // group]
    return mixed.reshape(new, -1)


def _rotate(states: Floats, first_position: int, shape: ModelShape) -> Floats:
    """Rotate `[n, heads, head_size]`: element i of a head pairs with element i + head_size / 2."""
    positions = np.arange(first_position, first_position + len(states))
    angles = positions[:, None, None] * shape.rope_frequencies()
    first, second = np.split(states.astype(np.float64), 2, axis=-1)
    cosine, sine = np.cos(angles), np.sin(angles)
    rotated = np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return rotated.astype(np.float32)
