"""Greedy decoding over a trie: one forward pass for each choice.

This is what a reference decoder does, restricted to legal answers. It runs the model once for each
branch on the way, where `one_pass` runs it once for all branches; it is the fallback for tries whose
branches together are too many tokens, and what the one-pass decision is tested against.
"""

from collections.abc import Sequence

import numpy as np

from archroute_server.engine.branch_probabilities import Row, log_probabilities
from archroute_server.engine.decoded import Decoded
from archroute_server.engine.model import Model
from archroute_server.router.trie import AnswerTrie
from archroute_server.runtime.forward import Forward
from archroute_server.runtime.kv_cache import KeyValueCache


def decode_greedily(
    model: Model, prompt: Sequence[int], trie: AnswerTrie, past: KeyValueCache, max_tokens: int
) -> Decoded:
    """Return the probabilities at the branches on the way to the greedy answer after `prompt`.

    `past` holds the first tokens of the prompt, at most all but the last. A forward pass takes at most
    `max_tokens` tokens. Where there is no choice, tokens are appended and cost no forward pass of
    their own.
    """
    pending = list(prompt[past.tokens :])
    node, cache = trie.root, past
    path: list[Row] = []
    passes = tokens = 0
    while True:
        allowed = trie.allowed(node)
        while len(allowed) == 1:
            pending.append(allowed[0])
            node = trie.advance(node, allowed[0])
            allowed = trie.allowed(node)
        if not allowed:
            return Decoded(_along(trie, path), passes, tokens, cache)
        for start in range(0, len(pending), max_tokens):
            logits, cache = _read_on(model, pending[start : start + max_tokens], allowed, cache)
            passes += 1
        tokens += len(pending)
        row = log_probabilities(logits)
        path.append(row)
        # The first of equals is the lowest token id, as in the one-pass decision.
        chosen = allowed[max(range(len(row)), key=row.__getitem__)]
        node = trie.advance(node, chosen)
        pending = [chosen]


def _read_on(
    model: Model, tokens: Sequence[int], candidates: Sequence[int], past: KeyValueCache
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], KeyValueCache]:
    """Read `tokens` on top of `past`; return the candidates' logits after the last one, and the cache."""
    new = len(tokens)
    forward = Forward(
        token_ids=np.array(tokens, np.int64),
        positions=np.arange(past.tokens, past.tokens + new),
        visible=np.tri(new, past.tokens + new, past.tokens, dtype=np.bool_),
        select=np.array([new - 1]),
        candidates=np.array(candidates, np.int64),
    )
    logits, cache = model.run(forward, past)
    return logits[0], cache


def _along(trie: AnswerTrie, path: Sequence[Row]) -> tuple[Row | None, ...]:
    """Put the rows of the path in the places of their branches; the others were not visited."""
    rows: list[Row | None] = [None] * len(trie.branches)
    branch: int | None = 0
    for row in path:
        assert branch is not None
        rows[branch] = row
        branch = trie.branches[branch].edges[max(range(len(row)), key=row.__getitem__)].branch
    return tuple(rows)
