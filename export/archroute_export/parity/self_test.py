"""The self-test: fixed prompts whose answers a server compares with those that the exporter got.

How far may a server's answers be from the exporter's? Both compute the same graph with the same weights, and
differ in how they round: in the order of sums, in fused operations, and, where activations are quantized, in
the few values that such a difference puts on the other side of a rounding. The integer products themselves
are exact on every processor, since both factors are unsigned (see `graph.int8_precision`).

The exporter knows how much its own rounding did: the difference of the graph from the float32 reference. A
machine that rounds differently, but no worse, is as far from the reference, and so at most twice as far from
the exporter's answers. That is the bound, and it scales by itself with the precision and the model. What is
beyond it is worse arithmetic than the exporter's, and not just other arithmetic: fp32 differs from the
reference by rounding alone, int4 by far more.

The bound has a least value for what rounding on a CPU says nothing of: NVIDIA's GPUs multiply float32 with
the 10 bits of TF32, unless told otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import yaml

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.parity.case import ParityCase
from archroute_export.parity.graph import Floats, GraphUnderTest
from archroute_export.parity.reference import Progress, reference_logits
from archroute_server.bundle.digest import tokens_sha256
from archroute_server.bundle.manifest import FixedMessage, FixedPolicy, FixedPrompt, SelfTest
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import answer_log_probabilities, greedy_answer
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.trie import AnswerTrie

# Two machines that round equally well are at most this many times their distance from the reference apart.
ROUNDINGS = 2
# In natural logarithms of probabilities: 5 % of a probability.
LEAST_BOUND = 0.05

# For each branch of a trie, the log probabilities of its edges.
Rows = list[list[float]]


@dataclass(frozen=True, slots=True)
class SelfTestCases:
    """The fixed prompts as one model reads them, each with all answers behind it."""

    policies: PolicySet
    conversations: list[list[Message]]
    trie: AnswerTrie
    cases: list[ParityCase]
    max_prompt_tokens: int


def self_test_cases(encoder: PromptEncoder, end_of_turn: int) -> SelfTestCases:
    """Make the prompts that every bundle is known again by, in the prompt that its users will send."""
    content = yaml.safe_load((resources.files(__package__) / "self_test.yaml").read_text(encoding="utf-8"))
    policies = PolicySet("", tuple(Policy(**policy) for policy in content["policies"]))
    conversations = [
        [Message(Role(message["role"]), message["text"]) for message in messages]
        for messages in content["conversations"]
    ]
    trie = answer_trie(policies, encoder.variant, encoder.tokenizer, end_of_turn)
    candidates = np.array(trie.candidates, np.int64)
    cases = [
        ParityCase(tuple(encoder.encode(policies, messages).token_ids), trie.sequences, candidates)
        for messages in conversations
    ]
    return SelfTestCases(policies, conversations, trie, cases, encoder.budget)


def record_self_test(
    graph: GraphUnderTest, checkpoint: Checkpoint, fixed: SelfTestCases, progress: Progress | None = None
) -> SelfTest:
    """Ask `graph` the prompts, and the reference as well for how far the answers may be from these."""
    found = [_branch_rows(fixed.trie, graph.logits(case)) for case in fixed.cases]
    reference = [
        _branch_rows(fixed.trie, logits) for logits in reference_logits(checkpoint, fixed.cases, progress)
    ]
    measured = max(map(_difference, found, reference))
    return SelfTest(
        policies=[FixedPolicy(name=one.name, description=one.description) for one in fixed.policies.policies],
        max_prompt_tokens=fixed.max_prompt_tokens,
        prompts=[
            _fixed_prompt(fixed.trie, messages, case, rows)
            for messages, case, rows in zip(fixed.conversations, fixed.cases, found, strict=True)
        ],
        measured=measured,
        bound=max(ROUNDINGS * measured, LEAST_BOUND),
    )


def _fixed_prompt(trie: AnswerTrie, messages: Sequence[Message], case: ParityCase, rows: Rows) -> FixedPrompt:
    choice = greedy_answer(trie, rows)
    probability = float(np.exp(answer_log_probabilities(trie, rows)[choice]))
    return FixedPrompt(
        messages=[
            FixedMessage(role="user" if message.role is Role.USER else "assistant", text=message.text)
            for message in messages
        ],
        prompt_sha256=tokens_sha256(case.prompt),
        choice=trie.answers[choice],
        probability=min(1.0, round(probability, 6)),
        branches=[[round(value, 6) for value in row] for row in rows],
    )


def _branch_rows(trie: AnswerTrie, logits: Sequence[Floats]) -> Rows:
    """Read each branch off the logits behind the prompt and the tokens of one of the answers that pass it."""
    depths: list[int] = []
    rows: Rows = []
    for index, branch in enumerate(trie.branches):
        above = depths[branch.parent] if branch.parent >= 0 else len(trie.forced)
        depths.append(above + len(branch.tokens))
        columns = [trie.candidates.index(edge.token) for edge in branch.edges]
        values = logits[_answer_through(trie, index)][depths[-1], columns].astype(np.float64)
        values -= values.max()
        rows.append((values - np.log(np.exp(values).sum())).tolist())
    return rows


def _answer_through(trie: AnswerTrie, branch: int) -> int:
    """Return an answer whose way leads through a branch."""
    while True:
        edge = trie.branches[branch].edges[0]
        if edge.answer is not None:
            return edge.answer
        assert edge.branch is not None
        branch = edge.branch


def _difference(rows: Rows, others: Rows) -> float:
    return max(
        abs(one - other)
        for row, other_row in zip(rows, others, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )
