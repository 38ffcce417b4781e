"""Forward: the inputs of one forward pass."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Forward:
    """N new tokens to read on top of P cached ones.

    `visible[n, p]` says whether new token n attends to token p, the P cached tokens first: `[N, P + N]`.
    `select [M]` are the rows, and `candidates [C]` the entries of the vocabulary, to give logits for.
    """

    token_ids: Integers
    positions: Integers
    visible: npt.NDArray[np.bool_]
    select: Integers
    candidates: Integers
