"""Policies and conversations of the sizes that are measured."""

import random
from collections.abc import Iterator
from typing import Any

from archroute_server.engine.layout import lay_out
from archroute_server.router.answer import answer_trie
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.trie import AnswerTrie
from gpu_run.plan import SEED, Case

# Names of two parts, so that the tree of answers has branches behind the first, as catalogues have.
_AREAS, _TASKS, _WORDS = (
    line.split()
    for line in (
        "billing calendar code database email health music network travel weather",
        "search repair review summary planning report alert translation forecast order",
        "please could you tell me how this that the a new old last next first table number list of for with "
        "from about after before between customer server meeting flight invoice song doctor query picture "
        "today tomorrow morning evening week month city house price change send find write read open close "
        "start stop again never always maybe quickly slowly green blue small large simple strange broken",
    )
)

_MOST_CORRECTIONS = 8


def policies(count: int) -> PolicySet:
    """Return the last `count` of a hundred policies, ten areas with ten tasks each.

    The last, so that sets of other sizes begin otherwise: the prefix cache would share what they begin with.
    """
    pairs = [(area, task) for task in _TASKS for area in _AREAS][-count:]
    return PolicySet(
        f"gpu-{count}", tuple(Policy(f"{area}_{task}", _describe(area, task)) for area, task in pairs)
    )


def texts() -> Iterator[str]:
    """Give what the tokenizer is trained on, so that each of its words is one token."""
    yield from (
        f"- {policy.name}: {policy.description}" for policy in policies(len(_AREAS) * len(_TASKS)).policies
    )
    yield '{"route": "other"} none of the above system user assistant'
    yield from (f"user: {word} {word} {word}" for word in _WORDS)


def _describe(area: str, task: str) -> str:
    return (
        f"Requests of users who want a {task} of something in {area}, or help with a {task} that went wrong"
    )


class RequestMaker:
    """Makes conversations for which the model reads as many new tokens as a case says.

    New are all tokens of a prompt behind its policies, and those of the tree of answers.
    """

    def __init__(self, encoder: PromptEncoder, end_of_turn: int) -> None:
        self._encoder = encoder
        self._end_of_turn = end_of_turn

    def answers(self, count: int) -> dict[str, Any]:
        """Return the answers to so many policies, and how many tokens the policies and the tree take."""
        chosen = policies(count)
        trie = self._trie(chosen)
        return {
            "answers": trie.answers,
            "sequences": trie.sequences,
            "prefix_tokens": len(self._encoder.prefix(chosen)),
            "tree_tokens": len(lay_out(trie).token_ids),
        }

    def make(self, case: Case, count: int) -> list[dict[str, Any]]:
        """Make `count` conversations of one message: its `text`, and the `prompt` in token ids.

        All are different from their first words on. Raises `ValueError` if the tree of answers and the frame
        of a prompt take more than the case allows.
        """
        chosen = policies(case.policies)
        tree = len(lay_out(self._trie(chosen)).token_ids)
        prompt_tokens = len(self._encoder.prefix(chosen)) + case.new_tokens - tree
        source = random.Random(f"{SEED} {case.name}")
        words = 1
        made = []
        for _ in range(count):
            made.append(self._request(chosen, prompt_tokens, source.choices(_WORDS, k=words), source))
            # About right for the next: encoding a prompt again and again is what takes time here.
            words = len(made[-1]["text"].split())
        return made

    def _trie(self, chosen: PolicySet) -> AnswerTrie:
        return answer_trie(chosen, self._encoder.variant, self._encoder.tokenizer, self._end_of_turn)

    def _request(
        self, chosen: PolicySet, prompt_tokens: int, words: list[str], source: random.Random
    ) -> dict[str, Any]:
        """Make a request of these words, or of fewer or more."""
        for _ in range(_MOST_CORRECTIONS):
            text = " ".join(words)
            prompt = self._encoder.encode(chosen, [Message(Role.USER, text)]).token_ids
            missing = prompt_tokens - len(prompt)
            if missing == 0:
                return {"text": text, "prompt": prompt}
            words = words[:missing] if missing < 0 else [*words, *source.choices(_WORDS, k=missing)]
            if not words:
                raise ValueError(f"a prompt of {prompt_tokens} tokens has no room for a message")
        raise ValueError(f"no message makes a prompt of {prompt_tokens} tokens")
