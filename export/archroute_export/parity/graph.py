"""Running an exported graph the plain way, to compare it with the reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from archroute_export.parity.case import ParityCase

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class GraphUnderTest(Protocol):
    """A graph that can be asked for the logits of a case."""

    def logits(self, case: ParityCase) -> list[Floats]:
        """Return, for each answer, the logits that `ParityCase` asks for."""


class TreeGraph:
    """The graph that `graph.decoder` builds, on the CPU provider.

    It reads the first half of the prompt, then on top of that cache the rest with all answers as a tree,
    so that one comparison covers the cache, the positions, the attention bias, `select` and `candidates`.
    """

    def __init__(self, path: Path) -> None:
        """Load the graph; raises whatever ONNX Runtime raises for one that it cannot load."""
        self._session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = {node.name: node for node in self._session.get_inputs()}
        half = inputs["attention_bias"].type == "tensor(float16)"
        self._float_type = np.dtype(np.float16 if half else np.float32)
        self._empty = _empty_past(self._session, "past.", self._float_type)

    def logits(self, case: ParityCase) -> list[Floats]:
        """See `GraphUnderTest.logits`."""
        prompt, half = len(case.prompt), len(case.prompt) // 2
        _, past = self._run(
            case.prompt[:half],
            np.arange(half),
            np.tri(half, dtype=np.bool_),
            np.array([0]),
            case.candidates,
            self._empty,
        )
        tokens = [*case.prompt[half:]]
        positions = [np.arange(half, prompt)]
        starts = []
        for answer in case.answers:
            starts.append(len(tokens))
            tokens += answer
            positions.append(np.arange(prompt, prompt + len(answer)))
        visible = np.tri(len(tokens), half + len(tokens), half, dtype=np.bool_)
        for start in starts:
            # An answer must not see those before it.
            visible[start:, prompt : half + start] = False
        end_of_prompt = prompt - half - 1
        select = np.arange(end_of_prompt, len(tokens))
        logits, _ = self._run(tokens, np.concatenate(positions), visible, select, case.candidates, past)
        return [
            np.concatenate([logits[:1], logits[start - end_of_prompt :][: len(answer)]])
            for start, answer in zip(starts, case.answers, strict=True)
        ]

    def _run(
        self,
        tokens: Sequence[int],
        positions: Integers,
        visible: npt.NDArray[np.bool_],
        select: Integers,
        candidates: Integers,
        past: Mapping[str, Array],
    ) -> tuple[Floats, dict[str, Array]]:
        hidden = -3e4 if self._float_type == np.float16 else -1e9
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "position_ids": positions[None],
            "attention_bias": np.where(visible, 0, hidden).astype(self._float_type)[None, None],
            "select": select,
            "candidates": candidates,
            **past,
        }
        return _run(self._session, feeds, "past.")


class LinearGraph:
    """A graph as optimum exports it, on the CPU provider: no attention bias, so no trees, and all logits.

    It reads the first half of the prompt, then on top of that cache the rest with each answer in turn.
    """

    def __init__(self, path: Path) -> None:
        """Load the graph; raises whatever ONNX Runtime raises for one that it cannot load."""
        self._session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._empty = _empty_past(self._session, "past_key_values.", np.dtype(np.float32))

    def logits(self, case: ParityCase) -> list[Floats]:
        """See `GraphUnderTest.logits`."""
        half = len(case.prompt) // 2
        _, past = self._run(case.prompt[:half], 0, self._empty)
        found = []
        for answer in case.answers:
            logits, _ = self._run((*case.prompt[half:], *answer), half, past)
            found.append(logits[0, len(case.prompt) - half - 1 :][:, case.candidates])
        return found

    def _run(
        self, tokens: Sequence[int], cached: int, past: Mapping[str, Array]
    ) -> tuple[Floats, dict[str, Array]]:
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, cached + len(tokens)), np.int64),
            "position_ids": np.arange(cached, cached + len(tokens))[None],
            **past,
        }
        return _run(self._session, feeds, "past_key_values.")


def _empty_past(
    session: ort.InferenceSession, prefix: str, float_type: np.dtype[np.generic]
) -> dict[str, Array]:
    """Return a cache of no tokens for every input whose name begins with `prefix`."""
    return {
        node.name: np.empty((1, node.shape[1], 0, node.shape[3]), float_type)
        for node in session.get_inputs()
        if node.name.startswith(prefix)
    }


def _run(
    session: ort.InferenceSession, feeds: Mapping[str, Array], past: str
) -> tuple[Floats, dict[str, Array]]:
    """Return the logits, and the present keys and values under the names by which they are fed back."""
    names = [node.name for node in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, feeds), strict=True))
    logits = outputs.pop("logits")
    return logits, {name.replace("present.", past, 1): value for name, value in outputs.items()}
