"""Forward passes for tests: plain causal ones, and trees of continuations."""

from collections.abc import Sequence

import numpy as np

from archroute_server.runtime.forward import Forward


def causal(
    tokens: Sequence[int], candidates: Sequence[int], past: int = 0, select: Sequence[int] | None = None
) -> Forward:
    """Read `tokens` in sequence on top of `past` cached ones; logits at every row unless some are named."""
    new = len(tokens)
    return Forward(
        token_ids=np.array(tokens, np.int64),
        positions=np.arange(past, past + new),
        visible=np.tri(new, past + new, past, dtype=np.bool_),
        select=np.arange(new) if select is None else np.array(select, np.int64),
        candidates=np.array(candidates, np.int64),
    )


def tree(
    prompt: Sequence[int], endings: Sequence[Sequence[int]], candidates: Sequence[int], past: int = 0
) -> Forward:
    """Read what is left of `prompt` and every ending behind it, none of which sees another."""
    rest = prompt[past:]
    tokens, positions = list(rest), list(range(past, len(prompt)))
    size = len(rest) + sum(map(len, endings))
    visible = np.tri(size, past + size, past, dtype=np.bool_)
    for ending in endings:
        start = len(tokens)
        tokens += ending
        positions += range(len(prompt), len(prompt) + len(ending))
        visible[start:, past + len(rest) : past + start] = False
    return Forward(
        token_ids=np.array(tokens, np.int64),
        positions=np.array(positions, np.int64),
        visible=visible,
        select=np.arange(size),
        candidates=np.array(candidates, np.int64),
    )
