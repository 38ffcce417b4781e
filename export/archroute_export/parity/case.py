"""ParityCase: a prompt and answers to it, which a graph and the reference both read."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt
import yaml

from archroute_server.router.answer import answer_trie
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet


@dataclass(frozen=True, slots=True)
class ParityCase:
    """The tokens of a prompt and of answers to it, and the tokens to give logits for.

    For each answer of n tokens there are logits `[1 + n, candidates]`: after the prompt's last token, and
    after each token of the answer.
    """

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    candidates: npt.NDArray[np.int64]


def fixed_cases(encoder: PromptEncoder, end_of_turn: int) -> list[ParityCase]:
    """Return the cases that every export is checked on, in the prompt that its users will send."""
    content = resources.files(__package__) / "prompts.yaml"
    return read_cases(content.read_text(encoding="utf-8"), encoder, end_of_turn)


def read_cases(text: str, encoder: PromptEncoder, end_of_turn: int) -> list[ParityCase]:
    """Make cases of YAML with `policies` and `conversations`, each with `messages` and `answers`."""
    content = yaml.safe_load(text)
    policies = PolicySet("parity", tuple(Policy(**policy) for policy in content["policies"]))
    trie = answer_trie(policies, encoder.variant, encoder.tokenizer, end_of_turn)
    # Every token of every answer: more columns to compare than the choices alone.
    candidates = np.unique(np.concatenate([np.array(sequence, np.int64) for sequence in trie.sequences]))
    return [
        ParityCase(
            tuple(encoder.encode(policies, _messages(conversation["messages"])).token_ids),
            tuple(trie.sequences[trie.answers.index(name)] for name in conversation["answers"]),
            candidates,
        )
        for conversation in content["conversations"]
    ]


def _messages(messages: Sequence[dict[str, str]]) -> list[Message]:
    return [Message(Role[message["role"].upper()], message["text"]) for message in messages]
