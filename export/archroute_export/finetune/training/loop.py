"""The training loop."""

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from peft import PeftModel

from archroute_export.finetune.training.batch import buckets, collate
from archroute_export.finetune.training.history import Step
from archroute_export.finetune.training.machine import Machine
from archroute_export.finetune.training.model import choice_logits, negative_log_likelihood, right_answers
from archroute_export.finetune.training.row import Row
from archroute_export.finetune.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class Score:
    """Mean negative log-likelihood in nats, and the share of right greedy answers."""

    loss: float
    accuracy: float
    examples: int


class Trainer:
    """Updates an adapter, one step at a time, over rows in an order that the seed decides.

    A trainer can begin after any number of steps: the order depends on nothing else.
    """

    def __init__(
        self, model: PeftModel, rows: Sequence[Row], settings: TrainingSettings, machine: Machine
    ) -> None:
        self._model = model
        self._rows = rows
        self._settings = settings
        self._machine = machine
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._order = list(_order(len(rows), settings))

    @property
    def total(self) -> int:
        """How many steps the whole run has."""
        return math.ceil(len(self._order) / self._settings.rows_per_step)

    def step(self, index: int, spent: float = 0.0) -> Step:
        """Do step `index`, counted from 0, with this share of the time behind it (see `schedule`).

        Raises `FloatingPointError` if the loss is no number.
        """
        started = time.monotonic()
        size = self._settings.rows_per_step
        rows = [self._rows[place] for place in self._order[index * size : (index + 1) * size]]
        examples = sum(row.examples for row in rows)
        rate = self._settings.learning_rate * schedule(index, self.total, self._settings.warmup, spent)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._model.train()
        loss, right = 0.0, 0
        for part in buckets(rows, self._machine.rows_per_batch):
            batch = collate(part).to(self._machine.device)
            with self._autocast():
                logits = choice_logits(self._model, batch)
            total = negative_log_likelihood(logits, batch)
            (total / examples).backward()  # type: ignore[no-untyped-call]
            loss += total.item() / examples
            right += right_answers(logits, batch)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of step {index + 1} is {loss}")
        torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Step(
            step=index + 1,
            loss=loss,
            accuracy=right / examples,
            examples=examples,
            tokens=sum(row.length for row in rows),
            learning_rate=rate,
            seconds=time.monotonic() - started,
        )

    @torch.no_grad()
    def score(
        self, rows: Sequence[Row], advance: Callable[[int, int], None] = lambda done, total: None
    ) -> Score:
        """Measure the adapter as it is on other rows."""
        self._model.eval()
        loss, right, examples, done = 0.0, 0, 0, 0
        for part in buckets(rows, self._machine.rows_per_batch):
            batch = collate(part).to(self._machine.device)
            with self._autocast():
                logits = choice_logits(self._model, batch)
            loss += negative_log_likelihood(logits, batch).item()
            right += right_answers(logits, batch)
            examples += batch.examples
            done += len(part)
            advance(done, len(rows))
        return Score(loss / examples, right / examples, examples)

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self._machine.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._machine.device.type, self._machine.dtype)


def schedule(index: int, total: int, warmup: float, spent: float = 0.0) -> float:
    """Return the share of the learning rate at step `index`: a linear rise, then half a cosine to zero.

    `spent` is the share of the run's time that is over, 0 if its time is not bounded. Where it is ahead of
    the steps it decides how far the cosine is, so that a run that the clock cuts short ends as gently as one
    that it does not.
    """
    rise = max(1, round(total * warmup))
    if index < rise:
        return (index + 1) / rise
    done = max((index - rise) / max(1, total - rise), min(spent, 1.0))
    return 0.5 * (1 + math.cos(math.pi * done))


def _order(rows: int, settings: TrainingSettings) -> list[int]:
    generator = random.Random(settings.seed)
    order: list[int] = []
    for _ in range(settings.epochs):
        epoch = list(range(rows))
        generator.shuffle(epoch)
        order += epoch
    return order
