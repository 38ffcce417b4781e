"""Making the cases out of real dialogues, for the tokenizer and the prompt of one bundle."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import tokenizers

from archroute_server.bundle.bundle import open_bundle
from archroute_server.engine.layout import lay_out
from archroute_server.engine.loading import open_encoder
from archroute_server.router.answer import answer_text, answer_trie
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, Policy, PolicySet
from peers import cases
from peers.answer_paths import common_prefix
from peers.settings import MAX_PROMPT_TOKENS
from workload import conversation, policies, read_dialogues

POLICY_COUNTS = (10, 50)
TURNS = (1, 4, 12)

CURVE_NEW_TOKENS = (50, 100, 200, 500, 1000, 2000)
CURVE_POLICIES = (2, 5, 10, 20, 50, 100, 200, 500)

# Enough for one percent to be at least one request; the first ones are warm-up.
_REQUESTS = 130
_CURVE_REQUESTS = 25
_WORDS_OF_A_SHORT_DESCRIPTION = 2


class CaseMaker:
    """Makes cases for one prompt and tokenizer.

    `reader` is the same tokenizer, but takes special tokens in a text as such, as every peer does.
    """

    def __init__(self, encoder: PromptEncoder, end_of_turn: int, reader: tokenizers.Tokenizer) -> None:
        self._encoder = encoder
        self._end_of_turn = end_of_turn
        self._reader = reader
        self._dialogues = read_dialogues()

    @classmethod
    def of_bundle(cls, folder: Path) -> Self:
        """Make cases for the prompt and the tokenizer of a bundle."""
        bundle = open_bundle(folder)
        encoder = open_encoder(bundle, MAX_PROMPT_TOKENS)
        return cls(
            encoder, bundle.manifest.prompt.end_of_turn, tokenizers.Tokenizer.from_file(str(bundle.tokenizer))
        )

    def matrix(self) -> Iterator[cases.Case]:
        """Make a case for each number of policies and of user turns; no conversation comes twice in one."""
        for count, turns in itertools.product(POLICY_COUNTS, TURNS):
            conversations = [conversation(dialogue, turns) for dialogue in self._dialogues[:_REQUESTS]]
            yield self.case(f"{count} policies, {turns} turns", policies(count), conversations)

    def curves(self) -> Iterator[cases.Case]:
        """Make a case for each point of the curves."""
        for tokens in CURVE_NEW_TOKENS:
            conversations = [self.long_message(tokens, index) for index in range(_CURVE_REQUESTS)]
            yield self.case(f"{tokens} new tokens", policies(10), conversations)
        for count in CURVE_POLICIES:
            conversations = [conversation(dialogue, 4) for dialogue in self._dialogues[:_CURVE_REQUESTS]]
            yield self.case(f"{count} short policies", short_policies(count), conversations)

    def long_message(self, tokens: int, index: int) -> list[Message]:
        """Cut a message of about `tokens` tokens out of the dialogues; each index has another."""
        texts = (
            message.text
            for dialogue in itertools.cycle(self._dialogues[index:] + self._dialogues[:index])
            for message in dialogue
        )
        parts: list[str] = []
        count = 0
        while count < tokens:
            text = next(texts)
            parts.append(text)
            count += self._encoder.tokenizer.count(f" {text}")
        whole = " ".join(parts)
        # Cut behind a token, which the tokenizer then makes again.
        end = self._encoder.tokenizer.spans(whole)[tokens - 1][1] if count > tokens else len(whole)
        return [Message(Role.USER, whole[:end])]

    def case(self, name: str, chosen: PolicySet, conversations: Sequence[list[Message]]) -> cases.Case:
        """Make a case of conversations on one policy set."""
        requests = tuple(self._request(chosen, messages) for messages in conversations)
        layout = lay_out(
            answer_trie(chosen, self._encoder.variant, self._encoder.tokenizer, self._end_of_turn)
        )
        read = [self._read(request.prompt) for request in requests]
        names = [policy.name for policy in chosen.policies] + [OTHER]
        return cases.Case(
            name=name,
            policies={policy.name: policy.description for policy in chosen.policies},
            answers={policy: answer_text(self._encoder.variant, policy) for policy in names},
            prefix_tokens=min(common_prefix(read[0], other) for other in read[1:]),
            tree_tokens=len(layout.token_ids),
            branches=len(layout.trie.branches),
            requests=requests,
        )

    def _request(self, chosen: PolicySet, messages: list[Message]) -> cases.Request:
        token_ids = self._encoder.encode(chosen, messages).token_ids
        prompt = self._encoder.tokenizer.decode(token_ids)
        if self._read(prompt) != token_ids:
            raise ValueError(f"the prompt does not survive being written as text: {json.dumps(prompt)}")
        wire = tuple(cases.Message(message.role.value, message.text) for message in messages)
        return cases.Request(wire, prompt, len(token_ids))

    def _read(self, text: str) -> list[int]:
        ids: list[int] = self._reader.encode(text, add_special_tokens=False).ids
        return ids


def short_policies(count: int) -> PolicySet:
    """Return policies with a few words each, so that 500 fit a model of 8192 positions."""
    return PolicySet(
        f"short-{count}",
        tuple(
            Policy(policy.name, " ".join(policy.description.split()[:_WORDS_OF_A_SHORT_DESCRIPTION]))
            for policy in policies(count).policies
        ),
    )
