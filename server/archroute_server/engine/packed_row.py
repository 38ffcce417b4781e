"""PackedRow: several questions that begin alike, side by side in one row of the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archroute_server.engine.layout import BranchLayout, Integers


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and the branches to read behind it."""

    prompt: Sequence[int]
    layout: BranchLayout

    def new_tokens(self, cached: int) -> int:
        """Return how many tokens the model reads if it knows the first `cached` of the prompt."""
        return len(self.prompt) - cached + len(self.layout.token_ids)


@dataclass(frozen=True, slots=True)
class Block:
    """Where one question stands in the row."""

    start: int
    """The column of its first new token, the cached tokens counted."""
    readings: slice
    """Its branches among the row's `reading_rows`."""
    columns: tuple[Integers, ...]
    """For each branch, the places of its edges' tokens among the row's candidates."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """N new tokens on top of P cached ones, which all questions begin with.

                    cached │ prompt A  tree A │ prompt B  tree B │ padding
                           │                  │                  │
        prompt A      ■    │    ◣             │                  │            sees the cached tokens, and
        tree A        ■    │    ■       ◣     │                  │            its own block up to itself
        prompt B      ■    │                  │    ◣             │
        tree B        ■    │                  │    ■       ◣     │
        padding            │                  │                  │   ╲        sees itself, seen by none

    A block is what the question would be by itself, with the positions that it would have: no token sees
    another block, so the answers are the same. The new tokens of a prompt are neighbours, so that their
    keys and values can be cut out of the row's.
    """

    token_ids: Integers
    """`[N]`"""
    positions: Integers
    """`[N]`"""
    visible: npt.NDArray[np.bool_]
    """`[N, P + N]`"""
    reading_rows: Integers
    """`[branches of all questions]`: the rows at which logits are read."""
    candidates: Integers
    """`[C]`: the candidates of all tries."""
    blocks: tuple[Block, ...]


def pack(questions: Sequence[Question], cached: int, multiple: int = 1) -> PackedRow:
    """Lay the questions side by side, all of which begin with the same `cached` tokens.

    The row is padded until P + N is a multiple of `multiple`.
    """
    used = sum(question.new_tokens(cached) for question in questions)
    size = used + -(cached + used) % multiple
    candidates = np.unique(np.concatenate([question.layout.candidates for question in questions]))
    token_ids = np.zeros(size, np.int64)
    positions = np.zeros(size, np.int64)
    # Padding sees itself, since attention to nothing has no meaning.
    visible = np.eye(size, cached + size, cached, dtype=np.bool_)
    reading_rows: list[Integers] = []
    blocks: list[Block] = []
    row, readings = 0, 0
    for question in questions:
        layout, length = question.layout, len(question.prompt)
        behind = length - cached
        rows = slice(row, row + question.new_tokens(cached))
        token_ids[rows] = [*question.prompt[cached:], *layout.token_ids]
        positions[rows] = [*range(cached, length), *(layout.depths + length)]
        visible[rows, :cached] = True
        visible[rows, cached + rows.start : cached + rows.stop] = _block(layout, behind)
        reading_rows.append(layout.reading_rows + behind + row)
        among = np.searchsorted(candidates, layout.candidates)
        blocks.append(
            Block(
                start=cached + row,
                readings=slice(readings, readings + len(layout.reading_rows)),
                columns=tuple(among[columns] for columns in layout.columns),
            )
        )
        row, readings = rows.stop, readings + len(layout.reading_rows)
    return PackedRow(token_ids, positions, visible, np.concatenate(reading_rows), candidates, tuple(blocks))


def _block(layout: BranchLayout, behind: int) -> npt.NDArray[np.bool_]:
    """Return what a block's tokens see of each other: the prompt is causal, and the tree sees all of it."""
    size = behind + len(layout.token_ids)
    visible = np.tri(size, dtype=np.bool_)
    visible[behind:, behind:] = layout.visible
    return visible
