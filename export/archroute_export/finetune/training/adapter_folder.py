"""The folder that a training run writes: in the end an adapter, before that what the run needs to go on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from archroute_export.checkpoint.adapter import CALIBRATION, CONFIG, TRAINING, WEIGHTS
from archroute_export.errors import ExportError
from archroute_export.finetune.training.history import (
    LOSS_FILE,
    PLOT_FILE,
    Step,
    recent_mean,
    write_plot,
    write_table,
)
from archroute_export.finetune.training.loop import Score
from archroute_export.finetune.training.state import (
    PARTIAL_STATE_FILE,
    STATE_FILE,
    TrainingState,
    load_state,
    save_state,
)

_KNOWN = frozenset(
    {CONFIG, WEIGHTS, TRAINING, CALIBRATION, LOSS_FILE, PLOT_FILE, STATE_FILE, PARTIAL_STATE_FILE}
)


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """A folder for one run. Every method raises `ExportError` for a disk that is full or not writable."""

    path: Path

    def prepare(self, *, replace: bool) -> None:
        """Make the folder ready: empty, or with an unfinished run in it.

        Raises `ExportError` if it holds something else, or a finished adapter that is not to be replaced.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            found = {path.name for path in self.path.iterdir()}
            if foreign := sorted(found - _KNOWN):
                raise ExportError(
                    f"{self.path} holds {foreign[0]}, which is not of a training run; name another --output"
                )
            if CONFIG in found and not replace:
                raise ExportError(
                    f"{self.path} holds a finished adapter; name another --output, or replace it with --force"
                )
            if replace:
                for name in found:
                    (self.path / name).unlink()

    def unfinished(self, identity: Mapping[str, str]) -> TrainingState | None:
        """Return the run to go on with, if there is one. Raises `ExportError` as `load_state` does."""
        return load_state(self.path, identity)

    def save(self, state: TrainingState) -> None:
        """Keep what the run needs to go on."""
        with self._writing():
            save_state(self.path, state)
            write_table(self.path / LOSS_FILE, state.steps)

    def finish(self, model: PeftModel, report: Mapping[str, Any], steps: Sequence[Step]) -> None:
        """Write the adapter, its config last: a folder with a config is whole."""
        adapter = {
            name: value.to(torch.float16).cpu().contiguous()
            for name, value in get_peft_model_state_dict(model, save_embedding_layers=False).items()
        }
        with self._writing():
            save_file(adapter, self.path / WEIGHTS, metadata={"format": "pt"})
            # safetensors makes it readable by its owner alone.
            (self.path / WEIGHTS).chmod(0o644)
            write_plot(self.path / PLOT_FILE, steps)
            (self.path / TRAINING).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            config: Any = model.peft_config["default"]
            config.inference_mode = True
            config.save_pretrained(self.path)
            (self.path / STATE_FILE).unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise ExportError(f"cannot write in {self.path}: {reason}") from error


def training_report(
    *,
    base: Mapping[str, str],
    start: Mapping[str, str] | None,
    prompt: str,
    settings: Mapping[str, Any],
    minutes: int | None,
    data: Mapping[str, str],
    steps: Sequence[Step],
    score: Score | None,
) -> dict[str, Any]:
    """Say what an adapter was made of, for `training.json`. `base` and `start` have a name and a digest."""
    return {
        "created_by": f"archroute {version('archroute')}",
        "base": base,
        "start": start,
        "prompt": prompt,
        "settings": settings,
        "minutes": minutes,
        "data": data,
        "steps": len(steps),
        "examples": sum(step.examples for step in steps),
        "tokens": sum(step.tokens for step in steps),
        "seconds": round(sum(step.seconds for step in steps)),
        "loss": round(recent_mean([step.loss for step in steps]), 4),
        "accuracy": round(recent_mean([step.accuracy for step in steps]), 4),
        "validation": None if score is None else asdict(score),
    }
