"""The server's decoding of an exported graph against unconstrained greedy decoding by transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from archroute_server.bundle.bundle import Bundle
from archroute_server.engine.decoded import Decoded
from archroute_server.engine.greedy import decode_greedily
from archroute_server.engine.layout import lay_out
from archroute_server.engine.one_pass import decode_one_pass
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import answer_log_probabilities, decide, greedy_answer
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import PolicySet
from archroute_server.router.trie import AnswerTrie
from archroute_server.runtime.session import Session
from support.bundles import export_bundle, open_encoder, open_session

# Training takes seconds on an idle machine, and much longer beside other work.
pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(300)]

UNBOUNDED = 10_000
# Enough for any answer of these policies.
LIMIT = 40


@dataclass(frozen=True)
class Case:
    """A conversation, and what transformers answers when it may say anything."""

    policies: PolicySet
    prompt: list[int]
    trie: AnswerTrie
    reference: tuple[int, ...]

    @property
    def legal(self) -> bool:
        return self.reference in self.trie.sequences


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.trained_checkpoint import train_tiny_checkpoint

    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    train_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Bundle:
    return export_bundle(checkpoint, checkpoint.with_name("bundle"))


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> Session:
    return open_session(bundle)


@pytest.fixture(scope="module")
def cases(checkpoint: Path, bundle: Bundle) -> list[Case]:
    """The lessons of the training, and other conversations on other sets of the same policies."""
    from support.trained_checkpoint import LESSONS, POLICIES
    from support.transformers_oracle import TransformersOracle

    fewer = PolicySet("fewer", POLICIES.policies[1:4])
    reversed_order = PolicySet("reversed", POLICIES.policies[::-1])
    texts = [lesson.text for lesson in LESSONS]
    conversations = [(POLICIES, [text]) for text in texts]
    conversations += [(fewer, [text]) for text in texts]
    conversations += [(reversed_order, [text]) for text in texts]
    conversations += [(POLICIES, [first, last]) for first, last in pairwise(texts)]
    oracle = TransformersOracle(checkpoint)
    encoder = open_encoder(bundle)
    end = bundle.manifest.prompt.end_of_turn
    cases = []
    for policies, spoken in conversations:
        prompt = encoder.encode(policies, [Message(Role.USER, text) for text in spoken]).token_ids
        trie = answer_trie(policies, encoder.variant, encoder.tokenizer, end)
        cases.append(Case(policies, prompt, trie, oracle.generate(prompt, end, LIMIT)))
    return cases


def test_the_reference_answers_both_legally_and_illegally(cases: Sequence[Case]) -> None:
    """Or the tests below would say less than they seem to."""
    legal = {case.reference for case in cases if case.legal}
    assert len(legal) >= 5
    illegal = {case.reference for case in cases if not case.legal}
    assert len(illegal) >= 2


def test_the_loop_answers_token_for_token_what_transformers_does_where_that_is_legal(
    cases: Sequence[Case], session: Session
) -> None:
    for case in cases:
        if case.legal:
            assert _answer(case, _greedily(session, case)) == case.reference


def test_the_loop_answers_legally_where_transformers_does_not(
    cases: Sequence[Case], session: Session
) -> None:
    for case in cases:
        if not case.legal:
            decision = decide(case.trie, _greedily(session, case).branches, case.policies)
            assert decision.policy in {policy.name for policy in case.policies.policies} | {None}
            assert 0 < decision.probability <= 1


def test_an_illegal_reference_is_followed_as_far_as_it_is_legal(
    cases: Sequence[Case], session: Session
) -> None:
    """Where the reference leaves the trie, the loop takes the likeliest token that stays in it."""
    compared = 0
    for case in cases:
        if case.legal:
            continue
        node = case.trie.root
        for token, chosen in zip(case.reference, _answer(case, _greedily(session, case)), strict=False):
            if token not in case.trie.allowed(node):
                break
            assert chosen == token
            node = case.trie.advance(node, token)
            compared += 1
    assert compared


@pytest.mark.parametrize("cached", [0.0, 0.5, 1.0])
def test_one_pass_decides_as_the_loop_does(cases: Sequence[Case], session: Session, cached: float) -> None:
    for case in cases:
        tokens = int(cached * (len(case.prompt) - 1))
        loop = _greedily(session, case)
        past = loop.cache.slice(0, tokens)
        one_pass = decode_one_pass(session, case.prompt, lay_out(case.trie), past, UNBOUNDED)
        assert one_pass.forward_passes == 1
        assert _answer(case, one_pass) == _answer(case, loop)
        whole = answer_log_probabilities(case.trie, one_pass.branches)
        for answer, total in answer_log_probabilities(case.trie, loop.branches).items():
            assert np.exp(whole[answer]) == pytest.approx(np.exp(total), abs=1e-4)
        assert sum(np.exp(total) for total in whole.values()) == pytest.approx(1)


def test_the_lessons_were_learned(cases: Sequence[Case], session: Session) -> None:
    """The exported model says what the model was trained to say, all the way through the bundle."""
    from support.trained_checkpoint import LESSONS, POLICIES

    names = {policy.name for policy in POLICIES.policies}
    for lesson, case in zip(LESSONS, cases, strict=False):
        if lesson.answer in names:
            decision = decide(case.trie, _greedily(session, case).branches, case.policies)
            assert (decision.policy, decision.probability > 0.8) == (lesson.answer, True)


def _greedily(session: Session, case: Case) -> Decoded:
    return decode_greedily(session, case.prompt, case.trie, session.empty_cache(), UNBOUNDED)


def _answer(case: Case, decoded: Decoded) -> tuple[int, ...]:
    return case.trie.sequences[greedy_answer(case.trie, decoded.branches)]
