"""The decision in one forward pass: every branch of the trie behind the prompt, as a tree."""

from collections.abc import Iterator, Sequence

import numpy as np

from archroute_server.engine.branch_probabilities import log_probabilities
from archroute_server.engine.decoded import Decoded
from archroute_server.engine.layout import BranchLayout
from archroute_server.engine.model import Model
from archroute_server.engine.packed_row import Question, pack
from archroute_server.runtime.forward import Forward
from archroute_server.runtime.kv_cache import KeyValueCache


def decode_one_pass(
    model: Model, prompt: Sequence[int], layout: BranchLayout, past: KeyValueCache, max_tokens: int
) -> Decoded:
    """Return the exact probability of every edge of the trie after `prompt`; see `decode_together`."""
    (decoded,) = decode_together(model, [Question(prompt, layout)], past, max_tokens)
    return decoded


def decode_together(
    model: Model,
    questions: Sequence[Question],
    past: KeyValueCache,
    max_tokens: int | None = None,
    multiple: int = 1,
) -> list[Decoded]:
    """Return, for each question, the exact probability of every edge of its trie after its prompt.

    `past` holds the first tokens of every prompt, at most all but the last. Tokens beyond `max_tokens`, if
    given, take another forward pass on top of the first, which bounds the memory of one pass. Each pass
    ends where cached and new tokens are together a multiple of `multiple`. The result is always the same.
    """
    row = pack(questions, past.tokens, multiple)
    logits = np.empty((len(row.reading_rows), len(row.candidates)), np.float32)
    cache = past
    passes = 0
    new = len(row.token_ids)
    for start, stop in _pieces(past.tokens, new, max_tokens or new, multiple):
        read = (row.reading_rows >= start) & (row.reading_rows < stop)
        forward = Forward(
            token_ids=row.token_ids[start:stop],
            positions=row.positions[start:stop],
            visible=row.visible[start:stop, : past.tokens + stop],
            select=row.reading_rows[read] - start,
            candidates=row.candidates,
        )
        logits[read], cache = model.run(forward, cache)
        passes += 1
    return [
        Decoded(
            branches=tuple(
                log_probabilities(values[columns])
                for values, columns in zip(logits[block.readings], block.columns, strict=True)
            ),
            forward_passes=passes,
            tokens=new,
            cache=cache,
            offset=block.start - past.tokens,
        )
        for block in row.blocks
    ]


def _pieces(cached: int, new: int, max_tokens: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Cut `new` tokens into pieces of at most `max_tokens` that end at a multiple, where that is possible."""
    start = 0
    while start < new:
        stop = min(start + max_tokens, new)
        if stop < new:
            stop = max(stop - (cached + stop) % multiple, start + 1)
        yield start, stop
        start = stop
