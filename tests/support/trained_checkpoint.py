"""A tiny Qwen2 that has learned a few conversations by heart, so that its greedy answers mean something.

It is trained on whole prompts of the contract. For some conversations it learns an answer that is not
among the policies it is shown: what an unconstrained decoder says there is illegal.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.checkpoint.template import chat_frame
from archroute_server.router.answer import answer_text
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from support.checkpoints import write_tiny_checkpoint

POLICIES = PolicySet(
    "trained",
    (
        Policy("code_generation", "New code"),
        Policy("code_review", "Quality of code"),
        Policy("code_refactoring", "Structure of code"),
        Policy("data", "Tables and queries"),
        Policy("database", "Administration of databases"),
        Policy("translation", "Other languages"),
    ),
)


@dataclass(frozen=True)
class Lesson:
    """A conversation of one message, and the answer that the model learns to give."""

    text: str
    answer: str

    @property
    def messages(self) -> list[Message]:
        return [Message(Role.USER, self.text)]


LESSONS = (
    Lesson("write a function that adds two numbers", "code_generation"),
    Lesson("is this loop any good?", "code_review"),
    Lesson("split this class in two", "code_refactoring"),
    Lesson("count the rows by month", "data"),
    Lesson("grant her access to the server", "database"),
    Lesson("and now in french", "translation"),
    Lesson("thanks, bye", "other"),
    # Answers that are no policy of the set; the second begins like two that are.
    Lesson("book a table for four", "travel"),
    Lesson("drop the schema", "databases"),
)
LEARNED = 0.03
STEPS = 200


def train_tiny_checkpoint(folder: Path, seed: int = 0) -> None:
    """Write a checkpoint and train it until it gives every lesson's answer; raises if it does not."""
    write_tiny_checkpoint(folder, seed=seed)
    checkpoint = SafetensorsFolder(folder)
    tokenizer = Tokenizer.from_file(folder / "tokenizer.json")
    variant = PromptVariant.load("arch-router/model-card")
    encoder = PromptEncoder(variant, chat_frame(checkpoint), tokenizer, budget=2048)
    rows, answers = [], []
    for lesson in LESSONS:
        answers.append([*tokenizer.encode(answer_text(variant, lesson.answer)), checkpoint.end_of_turn])
        rows.append([*encoder.encode(POLICIES, lesson.messages).token_ids, *answers[-1]])
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    # Only what the model says is learned.
    labels = torch.full_like(ids, -100)
    for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        labels[index, len(row) - len(answer) : len(row)] = torch.tensor(answer)
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(STEPS):
        loss = model(ids, labels=labels).loss
        if loss.item() < LEARNED:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    else:
        raise RuntimeError(f"the tiny model did not learn its lessons: its loss is {loss.item():.3f}")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    tensors.pop("lm_head.weight")  # tied to the embedding
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
