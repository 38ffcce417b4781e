"""The decision in one forward pass: every branch of the trie behind the prompt, as a tree."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from archroute_server.engine.branch_probabilities import log_probabilities
from archroute_server.engine.decoded import Decoded
from archroute_server.engine.layout import BranchLayout
from archroute_server.engine.model import Model
from archroute_server.runtime.forward import Forward
from archroute_server.runtime.kv_cache import KeyValueCache


def decode_one_pass(
    model: Model, prompt: Sequence[int], layout: BranchLayout, past: KeyValueCache, max_tokens: int
) -> Decoded:
    """Return the exact probability of every edge of the trie after `prompt`.

    `past` holds the first tokens of the prompt, at most all but the last. Tokens beyond `max_tokens`
    take another forward pass on top of the first, which bounds the memory of one pass; the result is
    the same.
    """
    tokens = np.concatenate([np.array(prompt[past.tokens :], np.int64), layout.token_ids])
    behind = len(prompt) - past.tokens
    positions = np.concatenate([np.arange(past.tokens, len(prompt)), layout.depths + len(prompt)])
    visible = _visible(layout, past.tokens, behind)
    rows = layout.reading_rows + behind
    logits = np.empty((len(rows), len(layout.candidates)), np.float32)
    cache = past
    passes = 0
    for start in range(0, len(tokens), max_tokens):
        stop = min(start + max_tokens, len(tokens))
        read = (rows >= start) & (rows < stop)
        forward = Forward(
            token_ids=tokens[start:stop],
            positions=positions[start:stop],
            visible=visible[start:stop, : past.tokens + stop],
            select=rows[read] - start,
            candidates=layout.candidates,
        )
        logits[read], cache = model.run(forward, cache)
        passes += 1
    return Decoded(
        branches=tuple(
            log_probabilities(row[columns]) for row, columns in zip(logits, layout.columns, strict=True)
        ),
        forward_passes=passes,
        cache=cache,
    )


def _visible(layout: BranchLayout, cached: int, behind: int) -> npt.NDArray[np.bool_]:
    """Return `[N, P + N]`: the rest of the prompt is causal, and all of the prompt is seen by the tree."""
    new = behind + len(layout.token_ids)
    visible = np.zeros((new, cached + new), np.bool_)
    visible[:, :cached] = True
    visible[:behind, cached : cached + behind] = np.tri(behind, dtype=np.bool_)
    visible[behind:, cached : cached + behind] = True
    visible[behind:, cached + behind :] = layout.visible
    return visible
