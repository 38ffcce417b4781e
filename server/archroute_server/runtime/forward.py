"""Forward: the inputs of one forward pass."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
FloatType = np.dtype[np.float16] | np.dtype[np.float32]
"""Of the graph's attention bias and KV cache."""


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


def hidden_score(float_type: FloatType) -> np.float16 | np.float32:
    """Return what is added to a score to hide a token: finite, so that no arithmetic on it gives NaN."""
    return float_type.type(-3e4 if float_type == np.float16 else -1e9)
