"""SelfTest: whether a loaded model says to fixed prompts what it said when it was exported.

The files of a bundle are known by their digests. What they compute is not: it depends on the processor, on
the version of ONNX Runtime and its provider, and on how this version of archroute writes and tokenizes
prompts. The manifest therefore holds prompts with the answers that the exporter got, and how far a sound
machine may be from them.

Two things must hold for every prompt. Each log probability is within the bound. And the decision is the
recorded one; or it leaves it for an edge that the recording itself has within the bound of the best, where
rounding decides. The first alone would let two edges change places that are up to twice the bound apart.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from archroute_server.bundle import manifest
from archroute_server.bundle.digest import tokens_sha256
from archroute_server.engine.layout import BranchLayout, lay_out
from archroute_server.engine.packed_row import Question
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import Rows, answer_log_probabilities, greedy_answer, likeliest
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet

Ask = Callable[[Question, int], Awaitable[Rows]]
"""Runs the model for a question, the first tokens of whose prompt, so many, are worth keeping."""


class SelfTestFailed(Exception):
    """The model does not answer its fixed prompts as it should; the message names the worst of them."""


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """How a self-test went that was passed."""

    prompts: int
    difference: float
    """The largest one of a log probability."""
    bound: float
    """What it might have been."""


@dataclass(frozen=True, slots=True)
class _Deviation:
    """How far an answer is from the recorded one, in natural logarithms of probabilities."""

    difference: float
    """The largest one of a log probability, over the branches that the model was run at."""
    gap: float
    """Between the best edge and the one taken, as recorded, where the decision leaves the recorded one."""

    @property
    def worst(self) -> float:
        return max(self.difference, self.gap)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A fixed prompt, ready to be asked."""

    question: Question
    reusable: int
    expected: manifest.FixedPrompt


class SelfTest:
    """The fixed prompts of a bundle. Belongs to one event loop, once it was made."""

    def __init__(self, recorded: manifest.SelfTest, encoder: PromptEncoder, end_of_turn: int) -> None:
        """Write and tokenize the prompts with `encoder`, whose budget is that of `recorded`.

        Raises `SelfTestFailed` if a prompt, or the tree of its answers, is not what it was, and
        `InvalidRequest` for policies and messages that no prompt can be made of.
        """
        self._bound = recorded.bound
        policies = PolicySet(
            "", tuple(Policy(policy.name, policy.description) for policy in recorded.policies)
        )
        layout = lay_out(answer_trie(policies, encoder.variant, encoder.tokenizer, end_of_turn))
        self._prompts = [
            _prepare(index, expected, policies, layout, encoder, len(recorded.prompts))
            for index, expected in enumerate(recorded.prompts)
        ]
        self._next = 0

    async def run(self, ask: Ask) -> SelfTestReport:
        """Ask every prompt. Raises `SelfTestFailed` naming the worst, and what `ask` raises."""
        answers = [await ask(prompt.question, prompt.reusable) for prompt in self._prompts]
        deviations = list(map(_deviation, self._prompts, answers))
        worst = max(range(len(deviations)), key=lambda index: deviations[index].worst)
        self._check(worst, answers[worst], deviations[worst])
        difference = max(deviation.difference for deviation in deviations)
        return SelfTestReport(len(self._prompts), difference, self._bound)

    async def run_next(self, ask: Ask) -> None:
        """Ask one prompt, each in its turn. Raises as `run` does."""
        index, self._next = self._next, (self._next + 1) % len(self._prompts)
        prompt = self._prompts[index]
        answer = await ask(prompt.question, prompt.reusable)
        self._check(index, answer, _deviation(prompt, answer))

    def _check(self, index: int, answer: Rows, deviation: _Deviation) -> None:
        if deviation.worst <= self._bound:
            return
        prompt = self._prompts[index]
        trie = prompt.question.layout.trie
        got = greedy_answer(trie, answer)
        probability = math.exp(answer_log_probabilities(trie, answer)[got])
        expected = prompt.expected
        apart = f", the two were {deviation.gap:.3g} apart," if deviation.gap > self._bound else ","
        raise SelfTestFailed(
            f"the model does not answer as it did when it was exported: to prompt {index + 1} of "
            f"{len(self._prompts)} it should say {expected.choice} ({expected.probability:.1%}) and says "
            f"{trie.answers[got]} ({probability:.1%}); a log probability differs by "
            f"{deviation.difference:.3g}{apart} and {self._bound:.3g} is allowed. Export the checkpoint "
            "again on a machine like this one, or with another --precision, or try another --provider"
        )


def _prepare(
    index: int,
    expected: manifest.FixedPrompt,
    policies: PolicySet,
    layout: BranchLayout,
    encoder: PromptEncoder,
    prompts: int,
) -> _Prompt:
    messages = [Message(Role(message.role), message.text) for message in expected.messages]
    encoded = encoder.encode(policies, messages)
    same_prompt = tokens_sha256(encoded.token_ids) == expected.prompt_sha256
    same_tree = [len(branch.edges) for branch in layout.trie.branches] == list(map(len, expected.branches))
    if not (same_prompt and same_tree):
        raise SelfTestFailed(
            f"prompt {index + 1} of {prompts} is not written, or not tokenized, as it was when the bundle "
            "was exported, so archroute or the tokenizers library has changed; export the checkpoint again"
        )
    return _Prompt(Question(encoded.token_ids, layout), encoded.reusable, expected)


def _deviation(prompt: _Prompt, answer: Rows) -> _Deviation:
    difference = max(
        abs(found - expected)
        for row, expected_row in zip(answer, prompt.expected.branches, strict=True)
        if row is not None
        for found, expected in zip(row, expected_row, strict=True)
    )
    return _Deviation(difference, _gap(prompt, answer))


def _gap(prompt: _Prompt, answer: Rows) -> float:
    """Walk down as the decision does, both by what was recorded and by `answer`, until the ways part."""
    branch: int | None = 0
    while branch is not None:
        recorded, row = prompt.expected.branches[branch], answer[branch]
        assert row is not None  # on the way, so the model was run at it
        best, taken = likeliest(recorded), likeliest(row)
        if taken != best:
            return recorded[best] - recorded[taken]
        branch = prompt.question.layout.trie.branches[branch].edges[best].branch
    return 0.0
