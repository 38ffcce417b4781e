"""From logits to log probabilities over the edges of a branch."""

import numpy as np
import numpy.typing as npt

Row = tuple[float, ...]


def log_probabilities(logits: npt.NDArray[np.float32]) -> Row:
    """Return the log softmax of `logits [edges]`, computed in float64."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    return tuple(values.tolist())
