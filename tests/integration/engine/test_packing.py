"""Requests packed in one row of an exported graph, against each by itself."""

from collections.abc import Sequence

import numpy as np
import pytest

from archroute_server.bundle.bundle import Bundle
from archroute_server.engine.batcher import Batcher
from archroute_server.engine.layout import lay_out
from archroute_server.engine.limits import Limits
from archroute_server.engine.one_pass import decode_one_pass, decode_together
from archroute_server.engine.packed_row import Question
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import greedy_answer
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.runtime.kv_cache import KeyValueCache
from archroute_server.runtime.session import Session
from support.bundles import export_bundle, open_encoder, open_session
from support.checkpoints import write_tiny_checkpoint
from support.gated_model import GatedModel

UNBOUNDED = 10_000
PATIENCE = 60
TEXTS = ("write a function", "is this loop any good?", "translate that", "thanks, bye", "a" * 40)
SETS = (
    PolicySet("", (Policy("code_generation", "New code"), Policy("code_review", "Quality of code"))),
    PolicySet("", tuple(Policy(name, name) for name in ("data", "database", "databases", "translation"))),
)


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("packing")
    write_tiny_checkpoint(folder / "checkpoint", family=request.param)
    return export_bundle(folder / "checkpoint", folder / "bundle")


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> Session:
    return open_session(bundle)


def questions_on(bundle: Bundle, policies: PolicySet) -> list[Question]:
    encoder, end = open_encoder(bundle), bundle.manifest.prompt.end_of_turn
    layout = lay_out(answer_trie(policies, encoder.variant, encoder.tokenizer, end))
    return [
        Question(encoder.encode(policies, [Message(Role.USER, text)]).token_ids, layout) for text in TEXTS
    ]


def shared_tokens(questions: Sequence[Question]) -> int:
    """Return how many tokens all prompts begin with."""
    columns = zip(*(question.prompt for question in questions), strict=False)
    return next(index for index, column in enumerate(columns) if len(set(column)) > 1)


def beginning(session: Session, question: Question, tokens: int) -> KeyValueCache:
    cache = decode_one_pass(session, question.prompt, question.layout, session.empty_cache(), UNBOUNDED).cache
    return cache.slice(0, tokens)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("cached", [True, False])
def test_packed_as_alone(bundle: Bundle, session: Session, cached: bool, multiple: int) -> None:
    """With a cached beginning, conversations on the same policies; without, on other policies as well."""
    questions = questions_on(bundle, SETS[0])
    past = session.empty_cache()
    if cached:
        past = beginning(session, questions[0], shared_tokens(questions))
        assert past.tokens > 20
    else:
        questions = [*questions[:2], *questions_on(bundle, SETS[1])[2:]]
    packed = decode_together(session, questions, past, multiple=multiple)
    assert packed[0].cache.tokens % multiple == 0
    for question, together in zip(questions, packed, strict=True):
        prompt, layout = question.prompt, question.layout
        alone = decode_one_pass(session, prompt, layout, session.empty_cache(), UNBOUNDED)
        assert together.forward_passes == 1
        trie = layout.trie
        assert greedy_answer(trie, together.branches) == greedy_answer(trie, alone.branches)
        for row, expected in zip(together.branches, alone.branches, strict=True):
            assert np.exp(row) == pytest.approx(np.exp(expected), abs=1e-4)
        found = together.cache.slice(past.tokens + together.offset, len(prompt) + together.offset)
        for array, wanted in zip(
            found.arrays, alone.cache.slice(past.tokens, len(prompt)).arrays, strict=True
        ):
            np.testing.assert_allclose(array, wanted, atol=1e-3)


def test_a_queue_is_decided_in_one_pass_and_kept_for_the_next_turn(bundle: Bundle, session: Session) -> None:
    first, *queued = questions_on(bundle, SETS[0])
    model = GatedModel(session)
    batcher = Batcher(model, Limits(batch_requests=8, shape_bucket=8))
    try:
        running = batcher.submit(first, len(first.prompt))
        assert model.arrived.wait(PATIENCE)
        waiting = [batcher.submit(question, len(question.prompt)) for question in queued]
        model.gate.set()
        for future in (running, *waiting):
            future.result(PATIENCE)
        assert batcher.statistics.batches == len(model.forwards) == 2
        for question in queued:
            again = batcher.submit(question, len(question.prompt)).result(PATIENCE)
            assert again.cached == len(question.prompt) - 1
            alone = decode_one_pass(
                session, question.prompt, question.layout, session.empty_cache(), UNBOUNDED
            )
            for row, expected in zip(again.branches, alone.branches, strict=True):
                assert row is not None
                assert np.exp(row) == pytest.approx(np.exp(expected), abs=1e-4)
    finally:
        batcher.close()
