"""Running an exported graph the plain way, to compare it with the reference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from archroute_export.parity.case import ParityCase

Floats = npt.NDArray[np.float32]


class GraphUnderTest:
    """An exported graph on the CPU provider.

    Raises whatever ONNX Runtime raises for a graph that it cannot load.
    """

    def __init__(self, path: Path) -> None:
        self._session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = {node.name: node for node in self._session.get_inputs()}
        half = inputs["attention_bias"].type == "tensor(float16)"
        self._float_type = np.dtype(np.float16 if half else np.float32)
        self._pasts = {name: node.shape for name, node in inputs.items() if name.startswith("past.")}

    def logits(self, case: ParityCase) -> tuple[Floats, Floats]:
        """Return the candidates' logits at the prompt's last token and along each of the two answers."""
        half = len(case.prompt) // 2
        empty = {
            name: np.empty((1, sizes[1], 0, sizes[3]), self._float_type)
            for name, sizes in self._pasts.items()
        }
        first = self._run(
            case.prompt[:half], np.arange(half), np.tri(half, dtype=np.bool_), [0], case.candidates, empty
        )
        past = {
            f"past.{name.removeprefix('present.')}": value
            for name, value in first.items()
            if name != "logits"
        }
        left, right = case.answers
        rest = len(case.prompt) - half
        tokens = (*case.prompt[half:], *left, *right)
        positions = np.concatenate(
            [
                np.arange(half, len(case.prompt)),
                np.arange(len(left)) + len(case.prompt),
                np.arange(len(right)) + len(case.prompt),
            ]
        )
        visible = np.tri(len(tokens), half + len(tokens), half, dtype=np.bool_)
        # The second answer must not see the first.
        visible[rest + len(left) :, half + rest : half + rest + len(left)] = False
        select = np.arange(rest - 1, len(tokens))
        outputs = self._run(tokens, positions, visible, select, case.candidates, past)
        logits = outputs["logits"].astype(np.float32, copy=False)
        return logits[: 1 + len(left)], np.concatenate([logits[:1], logits[1 + len(left) :]])

    def _run(
        self,
        tokens: Sequence[int],
        positions: npt.NDArray[np.int64],
        visible: npt.NDArray[np.bool_],
        select: Sequence[int] | npt.NDArray[np.int64],
        candidates: npt.NDArray[np.int64],
        past: dict[str, npt.NDArray[np.generic]],
    ) -> dict[str, npt.NDArray[np.generic]]:
        hidden = -3e4 if self._float_type == np.float16 else -1e9
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "position_ids": positions[None],
            "attention_bias": np.where(visible, 0, hidden).astype(self._float_type)[None, None],
            "select": np.asarray(select, np.int64),
            "candidates": candidates,
            **past,
        }
        names = [node.name for node in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, feeds), strict=True))
