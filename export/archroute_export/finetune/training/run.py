"""A training run from files to a folder that holds the adapter."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tokenizers
import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.open import open_checkpoint
from archroute_export.checkpoint.template import chat_frame
from archroute_export.digest import sha256_files
from archroute_export.errors import ExportError
from archroute_export.finetune.training.history import LOSS_FILE, PLOT_FILE, write_plot, write_table
from archroute_export.finetune.training.loop import Score, Trainer
from archroute_export.finetune.training.machine import Machine
from archroute_export.finetune.training.model import add_adapter, load_base
from archroute_export.finetune.training.row import Row, RowBuilder
from archroute_export.finetune.training.settings import TrainingSettings
from archroute_export.finetune.training.state import STATE_FILE, TrainingState, load_state, save_state
from archroute_export.progress import Stages
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.example import Example
from archroute_server.router.example_file import ExampleFileError, read_examples
from archroute_server.router.prompt import PromptVariant, UnknownPromptVariant
from archroute_server.router.tokenizer import Tokenizer

TRAINING_FILE = "training.json"

_SAVE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What to train, on what, and where the adapter goes."""

    base: str
    data: Sequence[Path]
    validation: Sequence[Path]
    output: Path
    settings: TrainingSettings
    machine: Machine
    replace: bool


def train(request: TrainingRequest, stages: Stages) -> Score | None:
    """Train an adapter, going on where an interrupted run stopped; return the validation's score, if any.

    The folder then holds the adapter in PEFT's own format (`adapter_config.json`,
    `adapter_model.safetensors` in float16), `training.json`, which says what it was made of, and the loss as
    a table and as a plot.

    Raises `CheckpointError` for a base that cannot be read, `ExportError` for anything else that a user can
    put right.
    """
    folder = request.output
    _prepare(folder, replace=request.replace)
    examples = _read(request.data)
    held_back = _read(request.validation)
    checkpoint = open_checkpoint(request.base, announce=stages.say)
    with stages.stage("Reading the checkpoint") as advance:
        checkpoint.compute_digest(advance)
    identity = _identity(request, checkpoint)
    state = load_state(folder, identity)
    builder = _row_builder(checkpoint, request.settings)
    with stages.stage("Tokenizing"):
        rows = list(builder.rows(examples))
        validation = list(builder.rows(held_back))
    trainer, model = _trainer(checkpoint, rows, request, state)
    steps = list(state.steps) if state else []
    if steps:
        stages.say(f"Going on after step {len(steps)} of {trainer.total}")
    saved = time.monotonic()

    def save() -> None:
        adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
        save_state(folder, TrainingState(identity, adapter, trainer.optimizer.state_dict(), steps))
        write_table(folder / LOSS_FILE, steps)

    with stages.stage("Training") as advance:
        for index in range(len(steps), trainer.total):
            try:
                steps.append(trainer.step(index))
            except FloatingPointError as error:
                raise ExportError(f"{error}; try a lower --learning-rate") from error
            advance(index + 1, trainer.total)
            if time.monotonic() - saved > _SAVE_SECONDS:
                save()
                _say_progress(stages, steps, trainer.total)
                saved = time.monotonic()
    save()
    score = None
    if validation:
        with stages.stage("Validating") as advance:
            score = trainer.score(validation, advance)
    _write_adapter(folder, model, identity, request, steps, score)
    (folder / STATE_FILE).unlink()
    return score


def _prepare(folder: Path, *, replace: bool) -> None:
    """Make the folder ready: empty, or with an unfinished run in it."""
    known = {CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, TRAINING_FILE, LOSS_FILE, PLOT_FILE, STATE_FILE}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in folder.iterdir()}
        if foreign := sorted(found - known - {f".{STATE_FILE}.partial"}):
            raise ExportError(
                f"{folder} holds {foreign[0]}, which is not of a training run; name another --output"
            )
        if CONFIG_NAME in found and not replace:
            raise ExportError(
                f"{folder} holds a finished adapter; name another --output, or replace it with --force"
            )
        if replace:
            for name in found:
                (folder / name).unlink()
    except OSError as error:
        raise ExportError(f"cannot write in {folder}: {error.strerror}") from error


def _read(paths: Sequence[Path]) -> list[Example]:
    try:
        return [example for path in paths for example in read_examples(path)]
    except ExampleFileError as error:
        raise ExportError(str(error)) from error


def _row_builder(checkpoint: Checkpoint, settings: TrainingSettings) -> RowBuilder:
    try:
        variant = PromptVariant.load(settings.variant)
    except UnknownPromptVariant as error:
        raise ExportError(str(error)) from error
    tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(checkpoint.tokenizer_json()))
    budget = min(settings.prompt_tokens, checkpoint.shape.maximum_positions)
    encoder = PromptEncoder(variant, chat_frame(checkpoint), tokenizer, budget)
    return RowBuilder(
        encoder,
        checkpoint.end_of_turn,
        requests_per_row=settings.requests_per_row,
        row_tokens=settings.row_tokens,
        conversation_tokens=settings.conversation_tokens,
    )


def _trainer(
    checkpoint: Checkpoint, rows: Sequence[Row], request: TrainingRequest, state: TrainingState | None
) -> tuple[Trainer, Any]:
    base = load_base(checkpoint).to(request.machine.dtype)
    model = add_adapter(base, request.settings, checkpoint.title).to(request.machine.device)
    trainer = Trainer(model, rows, request.settings, request.machine)
    if state:
        set_peft_model_state_dict(model, dict(state.adapter))
        trainer.optimizer.load_state_dict(dict(state.optimizer))
    return trainer, model


def _identity(request: TrainingRequest, checkpoint: Checkpoint) -> dict[str, str]:
    """What must be equal for a run to go on: base, data and settings, each as text."""
    settings = {name: str(value) for name, value in asdict(request.settings).items()}
    digests = sha256_files([*request.data])
    data = hashlib.sha256("".join(digests).encode()).hexdigest()
    return {"base": checkpoint.digest, "data": f"sha256:{data}", **settings}


def _say_progress(stages: Stages, steps: Sequence[Any], total: int) -> None:
    recent = steps[-50:]
    loss = sum(step.loss for step in recent) / len(recent)
    accuracy = sum(step.accuracy for step in recent) / len(recent)
    stages.say(
        f"step {len(steps)} of {total}: loss {loss:.3f}, accuracy {accuracy:.1%} over the last {len(recent)}"
    )


def _write_adapter(
    folder: Path,
    model: Any,
    identity: Mapping[str, str],
    request: TrainingRequest,
    steps: Sequence[Any],
    score: Score | None,
) -> None:
    """Write the finished adapter, its config last: a folder with a config is whole."""
    adapter = {
        name: value.to(torch.float16).cpu().contiguous()
        for name, value in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    save_file(adapter, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    # safetensors makes it readable by its owner alone.
    (folder / SAFETENSORS_WEIGHTS_NAME).chmod(0o644)
    write_plot(folder / PLOT_FILE, steps)
    recent = steps[-50:]
    report = {
        "created_by": f"archroute {version('archroute')}",
        "base": {"name": model.peft_config["default"].base_model_name_or_path, "digest": identity["base"]},
        "prompt": request.settings.variant,
        "settings": asdict(request.settings),
        "data": {
            path.name: f"sha256:{digest}"
            for path, digest in zip(request.data, sha256_files([*request.data]), strict=True)
        },
        "steps": len(steps),
        "examples": sum(step.examples for step in steps),
        "tokens": sum(step.tokens for step in steps),
        "seconds": round(sum(step.seconds for step in steps)),
        "loss": round(sum(step.loss for step in recent) / len(recent), 4),
        "validation": None if score is None else asdict(score),
    }
    (folder / TRAINING_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(folder)
