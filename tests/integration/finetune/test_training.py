"""Training a tiny model for a few steps: that it learns, however it is run."""

import csv
import errno
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.checkpoint.template import chat_frame
from archroute_export.errors import ExportError
from archroute_export.finetune.training import adapter_folder
from archroute_export.finetune.training import run as run_module
from archroute_export.finetune.training.batch import buckets, collate
from archroute_export.finetune.training.loop import Trainer, schedule
from archroute_export.finetune.training.machine import Machine, choose_machine
from archroute_export.finetune.training.model import (
    add_adapter,
    choice_logits,
    load_base,
    negative_log_likelihood,
)
from archroute_export.finetune.training.row import RowBuilder
from archroute_export.finetune.training.run import TrainingRequest, train
from archroute_export.finetune.training.settings import PROJECTIONS, TrainingSettings
from archroute_export.progress import Stages
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.example import Example
from archroute_server.router.example_file import write_examples
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, Policy
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from support.checkpoints import write_tiny_checkpoint
from support.transformers_oracle import TransformersOracle

MACHINE = Machine(torch.device("cpu"), torch.float32, 1)
SETTINGS = TrainingSettings(
    "archroute/compact", rank=4, alpha=8, learning_rate=2e-2, epochs=3, rows_per_step=1
)

POLICIES = tuple(
    Policy(name, f"About {name}") for name in ("code_generation", "code_review", "translation", "data")
)
TEXTS = {
    "code_generation": ("write a function", "a script please", "generate a class"),
    "code_review": ("is this any good?", "review my loop"),
    "translation": ("say it in french", "and in german?"),
    "data": ("count the rows", "average by month"),
    OTHER: ("hello there",),
}
EXAMPLES = [
    Example(POLICIES[:size], (Message(Role.USER, text),), name)
    for size in (4, 3)
    for name, texts in TEXTS.items()
    for text in texts
    if name == OTHER or name in {policy.name for policy in POLICIES[:size]}
]


TURNS = (
    ("code_generation", "write a function that parses a date", "here it is, with a test"),
    ("code_review", "is the old one any good?", "it leaks a file handle, and it is slow"),
    (OTHER, "I see, and how is the weather?", "I cannot say"),
    ("code_generation", "then write me a script instead", ""),
)
DIALOGUE = [
    Example(
        POLICIES,
        tuple(
            Message(role, text)
            for _, *texts in TURNS[: number + 1]
            for role, text in zip((Role.USER, Role.ASSISTANT), texts, strict=True)
        )[:-1],
        policy,
    )
    for number, (policy, *_) in enumerate(TURNS)
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tiny_checkpoint(folder, family="llama")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    write_examples(path, EXAMPLES)
    return path


def request(base: Path, data: Path, output: Path, **changes: object) -> TrainingRequest:
    fields: dict[str, object] = {
        "base": str(base),
        "data": [data],
        "validation": [],
        "output": output,
        "settings": SETTINGS,
        "machine": MACHINE,
        "replace": False,
    }
    return TrainingRequest(**(fields | changes))  # type: ignore[arg-type]


def row_builder(base: Path, **limits: int) -> RowBuilder:
    checkpoint = SafetensorsFolder(base)
    encoder = PromptEncoder(
        PromptVariant.load("archroute/compact"),
        chat_frame(checkpoint),
        Tokenizer.from_file(base / "tokenizer.json"),
        budget=512,
    )
    limits = {"requests_per_row": 8, "row_tokens": 4096, "conversation_tokens": 192} | limits
    return RowBuilder(encoder, checkpoint.end_of_turn, **limits)


def losses(folder: Path) -> list[float]:
    with (folder / "loss.csv").open(encoding="utf-8") as file:
        return [float(line["loss"]) for line in csv.DictReader(file)]


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every step saved, and raise KeyboardInterrupt at the one after `steps`."""
    monkeypatch.setattr(run_module, "_SAVE_SECONDS", -1.0)
    step = Trainer.step

    def interrupted(self: Trainer, index: int, spent: float) -> object:
        if index == steps:
            raise KeyboardInterrupt
        return step(self, index, spent)

    monkeypatch.setattr(Trainer, "step", interrupted)


def test_the_loss_falls_and_the_folder_says_what_was_done(base: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapter"
    settings = TrainingSettings(
        "archroute/compact", rank=4, alpha=8, learning_rate=2e-2, epochs=12, rows_per_step=1
    )
    score = train(request(base, data, output, settings=settings, validation=[data]), Stages())
    assert score is not None
    assert score.examples == len(EXAMPLES)
    history = losses(output)
    assert len(history) == 12 * 2  # two policy sets, each a row
    assert score.loss < sum(history[-3:]) / 3 + 0.5
    assert sum(history[-3:]) < 0.5 * sum(history[:3])

    assert {path.name for path in output.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "training.json",
        "loss.csv",
        "loss.svg",
    }
    report = json.loads((output / "training.json").read_text())
    assert report["prompt"] == "archroute/compact"
    assert report["base"]["digest"] == SafetensorsFolder(base).digest
    assert report["examples"] == 12 * len(EXAMPLES)
    tensors = load_file(output / "adapter_model.safetensors")
    assert len(tensors) == 2 * len(PROJECTIONS) * 2  # A and B of every projection of two layers
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert (output / "adapter_model.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("rows_per_batch", [1, 100])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_row_computes_what_its_examples_do_alone(family: str, rows_per_batch: int, tmp_path: Path) -> None:
    """One row at a time goes part by part, and several go through one biased attention matrix."""
    write_tiny_checkpoint(tmp_path, family=family)  # type: ignore[arg-type]
    model = add_adapter(load_base(SafetensorsFolder(tmp_path)), SETTINGS, "tiny").eval()
    examples = [*EXAMPLES, *DIALOGUE]
    together = list(row_builder(tmp_path, requests_per_row=32).rows(examples))
    alone = list(row_builder(tmp_path, requests_per_row=1).rows(examples))
    assert len(together) < len(alone)
    assert max(block.examples for row in together for block in row.blocks) >= len(DIALOGUE)
    with torch.no_grad():
        packed = [
            line for part in buckets(together, rows_per_batch) for line in choice_logits(model, collate(part))
        ]
        single = [line for row in alone for line in choice_logits(model, collate([row]))]
    for found, expected in zip(_sorted(packed), _sorted(single), strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def _sorted(lines: Iterable[torch.Tensor]) -> list[list[float]]:
    """Return each choice's logits, without what fills them up, in an order that batches do not change."""
    return sorted([value for value in line.tolist() if value > float("-inf")] for line in lines)


def test_the_gradients_are_the_same_either_way(base: Path) -> None:
    rows = list(row_builder(base, requests_per_row=32).rows([*EXAMPLES, *DIALOGUE]))
    gradients = []
    for size in (1, len(rows)):
        model = add_adapter(load_base(SafetensorsFolder(base)), SETTINGS, "tiny")
        for part in buckets(rows, size):
            batch = collate(part)
            negative_log_likelihood(choice_logits(model, batch), batch).backward()
        gradients.append(
            {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
        )
    alone, together = gradients
    assert any(gradient.abs().max() > 1e-3 for gradient in alone.values())
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, rtol=1e-3, atol=1e-5)


def test_the_logits_are_those_of_the_whole_model(base: Path) -> None:
    """Transformers alone, without rows, bias or selected columns, is the oracle."""
    (row, *_) = row_builder(base, requests_per_row=1).rows(EXAMPLES)
    batch = collate([row])
    model = add_adapter(load_base(SafetensorsFolder(base)), SETTINGS, "tiny").eval()
    with torch.no_grad():
        found = choice_logits(model, batch)
    logits = TransformersOracle(base).logits([*row.shared, *row.blocks[0].tokens])
    for index, choice in enumerate(row.blocks[0].choices):
        expected = logits[len(row.shared) + choice.index][list(choice.candidates)]
        torch.testing.assert_close(
            found[index, : len(choice.candidates)], torch.from_numpy(expected), rtol=1e-4, atol=1e-4
        )


def test_an_interrupted_run_ends_as_if_it_had_not_been(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(request(base, data, whole), Stages())
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(request(base, data, parts), Stages())
    assert (parts / "unfinished.pt").is_file()
    assert not (parts / "adapter_config.json").exists()
    train(request(base, data, parts), Stages())
    assert losses(parts) == losses(whole)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_was_asked_something_else_is_not_gone_on_with(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "adapter"
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(request(base, data, output), Stages())
    changed = replace(SETTINGS, rank=2)
    with pytest.raises(ExportError, match="has rank 4, this one 2"):
        train(request(base, data, output, settings=changed), Stages())
    write_examples(data, EXAMPLES[1:])
    with pytest.raises(ExportError, match="has data sha256:"):
        train(request(base, data, output), Stages())
    (output / "unfinished.pt").write_bytes(b"torn")
    with pytest.raises(ExportError, match=r"unfinished\.pt: the unfinished run cannot be read"):
        train(request(base, data, output), Stages())


def test_the_clock_ends_a_run_gently(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step
    monkeypatch.setattr(
        Trainer, "step", lambda self, index, spent: replace(step(self, index, spent), seconds=15.0)
    )
    settings = replace(SETTINGS, epochs=10)
    output = tmp_path / "adapter"
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(request(base, data, output, settings=settings), Stages())
    # It is gone on with, though it had no limit before.
    train(request(base, data, output, settings=settings, minutes=1), Stages())
    report = json.loads((output / "training.json").read_text())
    assert (report["minutes"], report["steps"], report["seconds"]) == (1, 4, 60)
    with (output / "loss.csv").open(encoding="utf-8") as file:
        rates = [float(line["learning_rate"]) for line in csv.DictReader(file)]
    highest = settings.learning_rate
    whole = [highest * schedule(index, 20, settings.warmup) for index in range(2)]
    assert rates == pytest.approx([*whole, highest * 0.5, highest * 0.5 * (1 - 0.5**0.5)], abs=1e-6)


def test_a_finished_adapter_is_trained_further(base: Path, data: Path, tmp_path: Path) -> None:
    first, still, further = tmp_path / "first", tmp_path / "still", tmp_path / "further"
    train(request(base, data, first), Stages())
    # The rank is that of the adapter, whatever the settings say.
    idle = replace(SETTINGS, rank=2, alpha=2, learning_rate=1e-12)
    train(request(base, data, still, settings=idle, start=str(first)), Stages())
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first, still))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((still / "training.json").read_text())["start"] == {
        "name": "first",
        "digest": Adapter(first).digest,
    }
    train(request(base, data, further, start=str(first)), Stages())
    assert losses(further)[-1] < losses(first)[0]
    assert losses(further)[0] == pytest.approx(losses(still)[0], rel=1e-4)


def test_an_adapter_of_another_base_is_not_trained_further(base: Path, data: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    write_tiny_checkpoint(wide, family="llama", hidden=96)
    train(request(wide, data, tmp_path / "first"), Stages())
    with pytest.raises(CheckpointError, match="was the adapter trained on another base"):
        train(request(base, data, tmp_path / "second", start=str(tmp_path / "first")), Stages())


def test_a_disk_that_is_full_is_named(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*ignored: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(adapter_folder, "save_state", full)
    with pytest.raises(ExportError, match=r"cannot write in .*adapter: No space left on device"):
        train(request(base, data, tmp_path / "adapter"), Stages())


def finished(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def foreign(folder: Path) -> None:
    (folder / "thesis.txt").write_text("the only copy")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (finished, "holds a finished adapter; name another --output, or replace"),
        (foreign, "holds thesis.txt"),
    ],
)
def test_an_output_that_holds_something_is_left_alone(
    spoil: Callable[[Path], None], reason: str, base: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "adapter"
    output.mkdir()
    spoil(output)
    (before,) = [path.read_text() for path in output.iterdir()]
    with pytest.raises(ExportError, match=reason):
        train(request(base, data, output), Stages())
    assert [path.read_text() for path in output.iterdir()] == [before]


def test_a_foreign_file_is_not_removed_by_force_either(base: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapter"
    output.mkdir()
    foreign(output)
    with pytest.raises(ExportError, match=r"thesis\.txt"):
        train(request(base, data, output, replace=True), Stages())
    assert (output / "thesis.txt").is_file()


def lines(*content: str) -> str:
    return "\n".join(content)


GOOD = (
    '{"policies": [{"name": "a", "description": "b"}], '
    '"messages": [{"role": "user", "content": "x"}], "policy": '
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "train.jsonl: holds no examples"),
        (
            lines(GOOD + '"a"}', GOOD + '"missing"}'),
            "train.jsonl:2: the expected policy 'missing'",
        ),
        (lines(GOOD + '"a"}', "", "{not json"), "train.jsonl:3: is not JSON"),
    ],
)
def test_data_that_cannot_be_learned_is_named_by_its_line(
    content: str, reason: str, base: Path, data: Path, tmp_path: Path
) -> None:
    data.write_text(content, encoding="utf-8")
    with pytest.raises(ExportError) as caught:
        train(request(base, data, tmp_path / "adapter"), Stages())
    assert reason in str(caught.value)


def test_a_loss_that_is_no_number_ends_the_run(base: Path, data: Path, tmp_path: Path) -> None:
    settings = TrainingSettings("archroute/compact", learning_rate=1e30, epochs=5)
    with pytest.raises(ExportError, match=r"the loss of step .* try a lower --learning-rate"):
        train(request(base, data, tmp_path / "adapter", settings=settings), Stages())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ExportError, match="--device warp cannot be used"):
        choose_machine("warp", "auto")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_refused() -> None:
    with pytest.raises(ExportError, match="--device cuda cannot be used"):
        choose_machine("cuda", "fp32")
    assert choose_machine("auto", "fp32") == MACHINE


def test_bfloat16_trains_too(base: Path, data: Path, tmp_path: Path) -> None:
    machine = Machine(torch.device("cpu"), torch.bfloat16, 2)
    output = tmp_path / "adapter"
    train(request(base, data, output, machine=machine), Stages())
    history = losses(output)
    assert history[-1] < history[0]
