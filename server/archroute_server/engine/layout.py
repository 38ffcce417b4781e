"""BranchLayout: every branch of an answer trie as rows of one forward pass."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archroute_server.router.trie import AnswerTrie

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BranchLayout:
    """The tokens that ride behind the prompt so that one forward pass gives the logits at every branch.

    The forced tokens come first, then each branch's own tokens after its parent's:

        prompt …  {"  route  ": ␣"   code   write  _long      trie: ──┬─ code ──┬─ …
                  └──── forced ───┘  └ 1 ┘  └─── 2 ──┘               ├─ write _long ──┬─ …
                                  ▲      ▲           ▲               └─ other
                                root  branch 1    branch 2

    A token sees the prompt, the forced tokens, its ancestors' tokens and those of its own branch before
    it, never another branch's; it has the position that it would have in its own answer. The logits of
    a branch are read at the last token that leads to it (▲).
    """

    trie: AnswerTrie
    token_ids: Integers
    """`[T]`: forced tokens, then the branches' tokens."""
    depths: Integers
    """`[T]`: how far behind the prompt each token stands, from 0."""
    visible: npt.NDArray[np.bool_]
    """`[T, T]`: whether the row's token attends to the column's."""
    reading_rows: Integers
    """`[branches]`: the row at which each branch's logits are read; -1 is the prompt's last token."""
    candidates: Integers
    """`[C]`: the trie's candidates."""
    columns: tuple[Integers, ...]
    """For each branch, the places of its edges' tokens among the candidates."""


def lay_out(trie: AnswerTrie) -> BranchLayout:
    """Lay out all branches of `trie`."""
    forced = len(trie.forced)
    total = forced + sum(len(branch.tokens) for branch in trie.branches)
    visible = np.zeros((total, total), np.bool_)
    visible[:forced, :forced] = np.tri(forced, dtype=np.bool_)
    token_ids = list(trie.forced)
    depths = list(range(forced))
    reading_rows = [forced - 1]
    for branch in trie.branches[1:]:
        start, length = len(token_ids), len(branch.tokens)
        above = reading_rows[branch.parent]
        rows = slice(start, start + length)
        if above >= 0:
            visible[rows] = visible[above]
        visible[rows, rows] = np.tri(length, dtype=np.bool_)
        first = depths[above] + 1 if above >= 0 else 0
        token_ids.extend(branch.tokens)
        depths.extend(range(first, first + length))
        reading_rows.append(start + length - 1)
    candidates = np.array(trie.candidates, np.int64)
    return BranchLayout(
        trie=trie,
        token_ids=np.array(token_ids, np.int64),
        depths=np.array(depths, np.int64),
        visible=visible,
        reading_rows=np.array(reading_rows, np.int64),
        candidates=candidates,
        columns=tuple(
            np.searchsorted(candidates, [edge.token for edge in branch.edges]) for branch in trie.branches
        ),
    )
