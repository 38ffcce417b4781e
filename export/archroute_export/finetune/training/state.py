"""What an interrupted run needs to go on: the adapter, the optimizer, and how far it is."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from archroute_export.errors import ExportError
from archroute_export.finetune.training.history import Step

STATE_FILE = "unfinished.pt"
PARTIAL_STATE_FILE = f".{STATE_FILE}.partial"
"""What a crash while saving leaves behind."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A run after some of its steps.

    `identity` says what the run was asked to do; a run goes on only if it is asked the same again.
    """

    identity: Mapping[str, str]
    adapter: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    steps: list[Step]


def save_state(folder: Path, state: TrainingState) -> None:
    """Replace the saved state; a crash leaves the old one or the new one."""
    partial = folder / PARTIAL_STATE_FILE
    content = {
        "identity": dict(state.identity),
        "adapter": dict(state.adapter),
        "optimizer": dict(state.optimizer),
        "steps": [asdict(step) for step in state.steps],
    }
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / STATE_FILE)


def load_state(folder: Path, identity: Mapping[str, str]) -> TrainingState | None:
    """Return the saved state, or None if there is none.

    Raises `ExportError` if it cannot be read or belongs to a run that was asked something else.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, weights_only=True)
        saved = content["identity"]
        steps = [Step(**entry) for entry in content["steps"]]
        state = TrainingState(saved, content["adapter"], content["optimizer"], steps)
    # The unpickler raises what its input makes it raise.
    except Exception as error:
        raise ExportError(
            f"{path}: the unfinished run cannot be read: {error}. Start anew with --force"
        ) from error
    for name, value in identity.items():
        if saved.get(name) != value:
            raise ExportError(
                f"{path}: the unfinished run has {name} {saved.get(name)}, this one {value}. Give it the "
                "same, name another --output, or start anew with --force"
            )
    return state
