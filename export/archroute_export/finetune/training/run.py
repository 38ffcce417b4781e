"""A training run from files to a folder that holds the adapter."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tokenizers
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.open import open_adapter, open_checkpoint
from archroute_export.checkpoint.template import chat_frame
from archroute_export.digest import sha256_files
from archroute_export.errors import ExportError
from archroute_export.finetune.training.adapter_folder import AdapterFolder, training_report
from archroute_export.finetune.training.history import RECENT, Step, recent_mean
from archroute_export.finetune.training.loop import Score, Trainer
from archroute_export.finetune.training.machine import Machine
from archroute_export.finetune.training.model import add_adapter, load_adapter, load_base
from archroute_export.finetune.training.row import Row, RowBuilder
from archroute_export.finetune.training.settings import TrainingSettings
from archroute_export.finetune.training.state import TrainingState
from archroute_export.progress import Stages
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.example import Example
from archroute_server.router.example_file import ExampleFileError, read_examples
from archroute_server.router.prompt import PromptVariant, UnknownPromptVariant
from archroute_server.router.tokenizer import Tokenizer

_SAVE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What to train, on what, and where the adapter goes.

    With `start`, the adapter in that folder is trained on; its rank and scale then hold, and not those of
    the settings. With `minutes`, the run ends after so many minutes in its steps, interruptions not counted,
    if it is not through its examples before.
    """

    base: str
    data: Sequence[Path]
    validation: Sequence[Path]
    output: Path
    settings: TrainingSettings
    machine: Machine
    replace: bool
    start: str | None = None
    minutes: int | None = None

    def spent(self, steps: Sequence[Step]) -> float:
        """Return the share of the time that these steps took; 0 without a bound."""
        return sum(step.seconds for step in steps) / (60 * self.minutes) if self.minutes else 0.0


def train(request: TrainingRequest, stages: Stages) -> Score | None:
    """Train an adapter, going on where an interrupted run stopped; return the validation's score, if any.

    The folder then holds the adapter in PEFT's own format (`adapter_config.json`,
    `adapter_model.safetensors` in float16), `training.json`, which says what it was made of, and the loss as
    a table and as a plot.

    Raises `CheckpointError` for a base or an adapter that cannot be read, `ExportError` for anything else
    that a user can put right.
    """
    folder = AdapterFolder(request.output)
    folder.prepare(replace=request.replace)
    examples = _read(request.data)
    held_back = _read(request.validation)
    checkpoint = open_checkpoint(request.base, announce=stages.say)
    start = None if request.start is None else open_adapter(request.start)
    if start is not None:
        start.check(checkpoint.shape, checkpoint.name)
    with stages.stage("Reading the checkpoint") as advance:
        checkpoint.compute_digest(advance)
    # Read once: what the report says is what was trained on, whatever becomes of the files in the meantime.
    data = sha256_files([*request.data])
    identity = _identity(request.settings, checkpoint, start, data)
    state = folder.unfinished(identity)
    builder = _row_builder(checkpoint, request.settings)
    with stages.stage("Tokenizing"):
        rows = list(builder.rows(examples))
        validation = list(builder.rows(held_back))
    trainer, model = _trainer(checkpoint, start, rows, request, state)
    steps = list(state.steps) if state else []
    if steps:
        stages.say(f"Going on after step {len(steps)} of {trainer.total}")
    saved = time.monotonic()

    def save() -> None:
        adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
        folder.save(TrainingState(identity, adapter, trainer.optimizer.state_dict(), steps))

    with stages.stage("Training") as advance:
        while len(steps) < trainer.total and (spent := request.spent(steps)) < 1:
            index = len(steps)
            try:
                steps.append(trainer.step(index, spent))
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
    report = training_report(
        base={"name": checkpoint.title, "digest": checkpoint.digest},
        start=None if start is None else {"name": start.title, "digest": start.digest},
        prompt=request.settings.variant,
        settings=asdict(request.settings),
        minutes=request.minutes,
        data={path.name: f"sha256:{digest}" for path, digest in zip(request.data, data, strict=True)},
        steps=steps,
        score=score,
    )
    folder.finish(model, report, steps)
    return score


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
    checkpoint: Checkpoint,
    start: Adapter | None,
    rows: Sequence[Row],
    request: TrainingRequest,
    state: TrainingState | None,
) -> tuple[Trainer, PeftModel]:
    base = load_base(checkpoint).to(request.machine.dtype)
    model = (
        add_adapter(base, request.settings, checkpoint.title)
        if start is None
        else load_adapter(base, start.folder, checkpoint.title)
    ).to(request.machine.device)
    trainer = Trainer(model, rows, request.settings, request.machine)
    if state:
        set_peft_model_state_dict(model, dict(state.adapter))
        trainer.optimizer.load_state_dict(dict(state.optimizer))
    return trainer, model


def _identity(
    settings: TrainingSettings, checkpoint: Checkpoint, start: Adapter | None, data: Sequence[str]
) -> dict[str, str]:
    """What must be equal for a run to go on: base, start, data and settings, each as text."""
    return {
        "base": checkpoint.digest,
        "start": "none" if start is None else start.digest,
        "data": f"sha256:{hashlib.sha256(''.join(data).encode()).hexdigest()}",
        **{name: str(value) for name, value in asdict(settings).items()},
    }


def _say_progress(stages: Stages, steps: Sequence[Step], total: int) -> None:
    loss = recent_mean([step.loss for step in steps])
    accuracy = recent_mean([step.accuracy for step in steps])
    stages.say(
        f"step {len(steps)} of {total}: loss {loss:.3f}, accuracy {accuracy:.1%} over the last "
        f"{min(RECENT, len(steps))}"
    )
