"""Attention over a training row, without computing what no token sees.

A block sees the shared tokens and itself, so most of a row's attention matrix is masked. Computing the
visible parts one by one gives the same as the whole matrix under its bias:

             shared   block 1   block 2
    shared   causal
    block 1  all      tree
    block 2  all                tree

Within a block, a token sees those on its way from the shared tokens: all before it, if nothing parts there.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

from archroute_export.finetune.training.row import Block, Row

ROW_ATTENTION = "archroute_row"
"""The name under which transformers knows `row_attention`."""


@dataclass(frozen=True, slots=True)
class RowParts:
    """The length of each part, the shared tokens first, and the mask of each block.

    A mask is bool, `[block, shared + block]`: true where a token of the block sees one of those.
    """

    lengths: list[int]
    masks: list[torch.Tensor]

    @classmethod
    def of(cls, row: Row) -> "RowParts":
        """Find the parts of a row."""
        shared = len(row.shared)
        masks = [seen_by(block, shared) for block in row.blocks]
        return cls([shared, *(len(mask) for mask in masks)], masks)

    def to(self, device: torch.device) -> "RowParts":
        """Return the same parts with their masks on a device."""
        return RowParts(self.lengths, [mask.to(device) for mask in self.masks])


def seen_by(block: Block, shared: int) -> torch.Tensor:
    """Return which of the shared tokens and the block's each token of a block sees.

    The result is bool, `[block, shared + block]`.
    """
    length = len(block.tokens)
    # Row -1 is that of the last shared token, before which everything in the block follows.
    seen = torch.zeros(length + 1, shared + length, dtype=torch.bool)
    seen[-1, :shared] = True
    for index, parent in enumerate(block.parents):
        seen[index] = seen[parent]
        seen[index, shared + index] = True
    return seen[:-1]


def row_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    parts: RowParts,
    **ignored: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' own implementations do, for a batch of one row.

    `query` is `[1, heads, N, head_size]`, `key` and `value` have the key/value heads; returns
    `[1, N, heads, head_size]`. `attention_mask` is not read: `parts` says who sees whom.
    """
    groups: Any = module.num_key_value_groups
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    # One split instead of a slice for each part: its gradient is one concatenation.
    (query, *queries), (key, *keys), (value, *values) = (
        torch.split(states, parts.lengths, dim=2) for states in (query, key, value)
    )
    outputs = [scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)]
    for own_query, own_key, own_value, mask in zip(queries, keys, values, parts.masks, strict=True):
        seen_key, seen_value = torch.cat((key, own_key), dim=2), torch.cat((value, own_value), dim=2)
        outputs.append(
            scaled_dot_product_attention(own_query, seen_key, seen_value, attn_mask=mask, scale=scaling)
        )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(ROW_ATTENTION, row_attention)
