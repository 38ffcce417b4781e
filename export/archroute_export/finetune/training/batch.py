"""Rows as tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from archroute_export.finetune.training.attention import RowParts, seen_by
from archroute_export.finetune.training.row import Row


@dataclass(frozen=True, slots=True)
class Batch:
    """R rows, padded to N tokens, with C choices among them in all, of at most K candidates each.

    A padding token sees itself alone, and nothing sees it.
    """

    token_ids: torch.Tensor
    """`[R, N]`, int64."""
    position_ids: torch.Tensor
    """`[R, N]`, int64."""
    attention_bias: torch.Tensor | None
    """`[R, 1, N, N]`, float32: 0 where the first token sees the second, else the lowest float.

    None for a single row: then `parts` says who sees whom.
    """
    selected: torch.Tensor
    """`[C]`: the token that each choice follows, as an index into the R * N tokens."""
    candidates: torch.Tensor
    """`[C, K]`: token ids; the rest of a line repeats its first."""
    excluded: torch.Tensor
    """`[C, K]`, bool: true where `candidates` only fills up."""
    right: torch.Tensor
    """`[C]`: the place of the right candidate."""
    example: torch.Tensor
    """`[C]`: which example a choice belongs to, counted over the rows."""
    examples: int
    """How many examples there are."""
    parts: RowParts | None
    """Where the parts of a single row lie."""

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on a device."""
        return Batch(
            token_ids=self.token_ids.to(device),
            position_ids=self.position_ids.to(device),
            attention_bias=None if self.attention_bias is None else self.attention_bias.to(device),
            selected=self.selected.to(device),
            candidates=self.candidates.to(device),
            excluded=self.excluded.to(device),
            right=self.right.to(device),
            example=self.example.to(device),
            examples=self.examples,
            parts=None if self.parts is None else self.parts.to(device),
        )


def collate(rows: Sequence[Row]) -> Batch:
    """Build a batch of one row or more."""
    length = max(row.length for row in rows)
    token_ids = torch.zeros(len(rows), length, dtype=torch.int64)
    position_ids = torch.zeros(len(rows), length, dtype=torch.int64)
    choices: list[tuple[int, int, tuple[int, ...], int]] = []
    examples = 0
    for index, row in enumerate(rows):
        shared = len(row.shared)
        tokens = [*row.shared, *(token for block in row.blocks for token in block.tokens)]
        positions = [*range(shared), *(shared + depth for block in row.blocks for depth in block.depths)]
        token_ids[index, : row.length] = torch.tensor(tokens)
        position_ids[index, : row.length] = torch.tensor(positions)
        start = index * length + shared
        for block in row.blocks:
            for choice in block.choices:
                place = (examples + choice.example, start + choice.index)
                choices.append((*place, choice.candidates, choice.right))
            examples += block.examples
            start += len(block.tokens)
    widest = max(len(candidates) for _, _, candidates, _ in choices)
    return Batch(
        token_ids=token_ids,
        position_ids=position_ids,
        attention_bias=None if len(rows) == 1 else _attention_bias(rows, length),
        selected=torch.tensor([selected for _, selected, _, _ in choices]),
        candidates=torch.tensor(
            [[*candidates, *[candidates[0]] * (widest - len(candidates))] for _, _, candidates, _ in choices]
        ),
        excluded=torch.tensor(
            [[place >= len(candidates) for place in range(widest)] for _, _, candidates, _ in choices]
        ),
        right=torch.tensor([right for _, _, _, right in choices]),
        example=torch.tensor([example for example, _, _, _ in choices]),
        examples=examples,
        parts=RowParts.of(rows[0]) if len(rows) == 1 else None,
    )


def buckets(rows: Sequence[Row], rows_per_batch: int) -> Iterator[list[Row]]:
    """Part rows into batches of about equal length, so that little is padded."""
    ordered = sorted(rows, key=lambda row: row.length)
    for start in range(0, len(ordered), rows_per_batch):
        yield ordered[start : start + rows_per_batch]


def _attention_bias(rows: Sequence[Row], length: int) -> torch.Tensor:
    visible = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
    for row, seen in zip(rows, visible, strict=True):
        shared = start = len(row.shared)
        seen[:shared, :shared] = torch.ones(shared, shared, dtype=torch.bool).tril()
        for block in row.blocks:
            end = start + len(block.tokens)
            of_block = seen_by(block, shared)
            seen[start:end, :shared], seen[start:end, start:end] = of_block[:, :shared], of_block[:, shared:]
            start = end
    bias = torch.full(visible.shape, torch.finfo(torch.float32).min)
    return bias.masked_fill(visible, 0.0)[:, None]
