"""The session whose KV cache stays on a device, with the CPU for one, against the session on NumPy arrays."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.bundle.bundle import Bundle
from archroute_server.engine.batcher import Batcher, BatchStatistics
from archroute_server.engine.layout import lay_out
from archroute_server.engine.limits import Limits
from archroute_server.engine.one_pass import decode_together
from archroute_server.engine.packed_row import Question
from archroute_server.engine.prefix_cache import CacheStatistics
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import greedy_answer
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.runtime.device.cache import CacheOverwritten, DeviceCache
from archroute_server.runtime.device.session import DeviceSession
from archroute_server.runtime.forward import Forward
from archroute_server.runtime.kv_cache import KeyValueCache, concatenate
from archroute_server.runtime.session import Session
from archroute_server.runtime.shape_buckets import Shape, ShapeBuckets
from support.bundles import export_bundle, open_device_session, open_encoder, open_session
from support.checkpoints import VOCABULARY_SIZE, write_tiny_checkpoint
from support.device_caches import keys_and_values
from support.forwards import causal, tree
from support.gated_model import GatedModel

BUCKETS = ShapeBuckets(cached=(0, 16, 64), new=(8, 32, 128), rows=(1, 40), candidates=(4, 64))
PATIENCE = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("device")
    write_tiny_checkpoint(folder / "checkpoint")
    return export_bundle(folder / "checkpoint", folder / "bundle")


@pytest.fixture(scope="module")
def host(bundle: Bundle) -> Session:
    return open_session(bundle)


@pytest.fixture(scope="module")
def padded(bundle: Bundle) -> DeviceSession:
    return open_device_session(bundle, shape_buckets=BUCKETS, shape_bucket=8)


@pytest.fixture(scope="module")
def unpadded(bundle: Bundle) -> DeviceSession:
    return open_device_session(bundle, shape_bucket=8)


tokens = st.lists(st.integers(0, VOCABULARY_SIZE - 1), min_size=1, max_size=70)
endings = st.lists(st.lists(st.integers(0, VOCABULARY_SIZE - 1), min_size=1, max_size=6), max_size=6)


@settings(max_examples=60, deadline=None)
@given(prompt=tokens, endings=endings, data=st.data())
def test_padding_changes_no_answer(
    host: Session,
    padded: DeviceSession,
    unpadded: DeviceSession,
    prompt: list[int],
    endings: list[list[int]],
    data: st.DataObject,
) -> None:
    """Whatever is cached, read as a tree and asked for: in a bucket, in none, and with NumPy arrays."""
    cached = data.draw(st.integers(0, len(prompt) - 1))
    candidates = data.draw(st.lists(st.integers(0, VOCABULARY_SIZE - 1), min_size=1, max_size=80))
    whole = tree(prompt, endings, candidates, cached)
    rows = data.draw(st.lists(st.integers(0, len(whole.token_ids) - 1), max_size=50))
    whole = replace(whole, select=np.array(rows, np.int64))
    expected = run_on(host, prompt[:cached], whole)
    for session in (padded, unpadded):
        logits, cache = run_on(session, prompt[:cached], whole)
        assert cache.tokens == expected[1].tokens
        np.testing.assert_allclose(logits, expected[0], atol=1e-4)
        np.testing.assert_allclose(keys_and_values(cache), keys_and_values(expected[1]), atol=1e-4)


@pytest.mark.parametrize("cached", [0, 3, 16, 40])
@pytest.mark.parametrize("new", [1, 8, 21, 100])
def test_tokens_are_together_a_multiple_of_eight(
    padded: DeviceSession, unpadded: DeviceSession, cached: int, new: int
) -> None:
    """For which attention has its fast kernels on a GPU."""
    tokens = np.random.default_rng(new).integers(0, VOCABULARY_SIZE, cached + new).tolist()
    for session in (padded, unpadded):
        past = session.empty_cache()
        if cached:
            past = session.run(causal(tokens[:cached], [0], select=[]), past)[1].slice(0, cached)
        _, cache = session.run(causal(tokens[cached:], [0], past=cached), past)
        assert isinstance(cache, DeviceCache)
        assert cache.tokens == cached + new
        assert cache.block.tokens % 8 == 0


def run_on(
    session: Session | DeviceSession, cached: Sequence[int], forward: Forward
) -> tuple[np.ndarray, KeyValueCache]:
    past = session.empty_cache()
    if cached:
        past = session.run(causal(cached, [0], select=[]), past)[1].slice(0, len(cached))
    logits, cache = session.run(forward, past)
    return logits, cache.slice(0, cache.tokens)


def test_a_pass_goes_on_from_the_one_before(host: Session, padded: DeviceSession) -> None:
    """As a prompt does that is read in pieces: what was returned is read by the very next pass."""
    prompt = np.random.default_rng(0).integers(0, VOCABULARY_SIZE, 60).tolist()
    for pieces in ((20, 40, 60), (1, 60), (7, 8, 9, 60)):
        cache, start = padded.empty_cache(), 0
        for stop in pieces:
            logits, cache = padded.run(causal(prompt[start:stop], [5, 6], past=start), cache)
            start = stop
        expected = host.run(causal(prompt, [5, 6]), host.empty_cache())[0]
        np.testing.assert_allclose(logits, expected[-len(logits) :], atol=1e-4)


def test_what_was_not_copied_is_not_read_after_the_next_pass(padded: DeviceSession) -> None:
    _, first = padded.run(causal([1, 2, 3], [5]), padded.empty_cache())
    kept = first.slice(1, 3)
    values = keys_and_values(kept)
    padded.run(causal([4, 5, 6], [5]), padded.empty_cache())
    with pytest.raises(CacheOverwritten, match="before the next pass"):
        first.slice(0, 1)
    with pytest.raises(CacheOverwritten, match="before the next pass"):
        padded.run(causal([7], [5], past=3), first)
    np.testing.assert_array_equal(keys_and_values(kept), values)


def test_values_of_an_earlier_pass_that_are_no_numbers_spoil_no_later_one(
    host: Session, padded: DeviceSession
) -> None:
    past = padded.empty_cache()
    assert isinstance(past, DeviceCache)
    broken = past.memory.block(16)
    broken.memory.update_inplace(np.full(past.memory.word_sizes(16), np.float32(np.nan).view(np.int32)))
    poisoned = DeviceCache(past.memory, past.copies, broken, 0, 16)
    assert np.isnan(padded.run(causal([1, 2], [5], past=16), poisoned)[0]).all()
    for cached in (3, 9):
        prompt = list(range(20, 20 + cached + 2))
        forward = causal(prompt[cached:], [5, 6], past=cached)
        found, expected = (run_on(session, prompt[:cached], forward)[0] for session in (padded, host))
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("count", [2, 8, 9, 20])
def test_parts_are_joined_in_their_order(host: Session, padded: DeviceSession, count: int) -> None:
    prompt = np.random.default_rng(count).integers(0, VOCABULARY_SIZE, 3 * count).tolist()
    _, whole = padded.run(causal(prompt, [5]), padded.empty_cache())
    parts = [whole.slice(start, start + 3) for start in range(0, 3 * count, 3)]
    joined = concatenate(parts)
    assert joined.tokens == 3 * count
    np.testing.assert_array_equal(keys_and_values(joined), keys_and_values(whole.slice(0, 3 * count)))
    assert concatenate(parts[:1]) is parts[0]
    expected = host.run(causal(prompt, [5]), host.empty_cache())[1]
    assert joined.nbytes == expected.nbytes


POLICIES = tuple(
    PolicySet("", tuple(Policy(name, name) for name in names))
    for names in (("code_generation", "code_review"), ("data", "database", "databases", "translation"))
)
TEXTS = ("write a function", "is this any good?", "translate that", "thanks, bye", "a" * 40)


def questions(bundle: Bundle) -> list[Question]:
    """Conversations on two sets of policies, some of which go on with a second turn."""
    encoder, end = open_encoder(bundle), bundle.manifest.prompt.end_of_turn
    found = []
    for policies in POLICIES:
        layout = lay_out(answer_trie(policies, encoder.variant, encoder.tokenizer, end))
        for text in TEXTS:
            turns = [
                Message(Role.USER, text),
                Message(Role.ASSISTANT, "so be it"),
                Message(Role.USER, "more"),
            ]
            found += [Question(encoder.encode(policies, turns[:n]).token_ids, layout) for n in (1, 3)]
    return found


@pytest.mark.parametrize("room", [0, 400_000, 1 << 28], ids=["no-cache", "evicting", "roomy"])
@pytest.mark.parametrize("batch_requests", [1, 4])
def test_an_engine_decides_and_keeps_as_with_numpy_arrays(
    bundle: Bundle, host: Session, room: int, batch_requests: int
) -> None:
    """The same answers, prefix cache hits, evictions and bytes; some passes fit a bucket, some none."""
    # So many candidates has the first set of policies, and the other has more.
    candidates = len(questions(bundle)[0].layout.candidates)
    buckets = ShapeBuckets(cached=(0, 800), new=(64, 800), rows=(8, 64), candidates=(candidates,))
    device = GatedModel(open_device_session(bundle, shape_buckets=buckets))
    limits = Limits(batch_requests=batch_requests, prefix_cache_bytes=room, forward_tokens=256)
    found, expected = (decide_all(model, limits, questions(bundle)) for model in (device, GatedModel(host)))
    assert {buckets.fit(shape_of(forward)) is None for forward in device.forwards} == {True, False}
    assert found[1:] == expected[1:]
    prefixes, batches = expected[1:]
    assert (prefixes.tokens_hit > 0, prefixes.evictions > 0) == (room > 0, room < 1 << 28)
    assert (batches.requests > batches.batches) == (batch_requests > 1)
    for row, wanted in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(row, wanted, atol=1e-4)


def decide_all(
    model: GatedModel, limits: Limits, asked: Sequence[Question]
) -> tuple[list[np.ndarray], CacheStatistics, BatchStatistics]:
    """Put all questions in the queue before the first is decided."""
    batcher = Batcher(model, limits)
    try:
        futures = [batcher.submit(each, len(each.prompt)) for each in asked[:1]]
        assert model.arrived.wait(PATIENCE)
        futures += [batcher.submit(each, len(each.prompt)) for each in asked[1:]]
        model.gate.set()
        results = [future.result(PATIENCE) for future in futures]
        rows = [np.exp(np.concatenate([row for row in each.branches if row])) for each in results]
        return rows, batcher.prefix_statistics, batcher.statistics
    finally:
        batcher.close()


def shape_of(forward: Forward) -> Shape:
    new, total = forward.visible.shape
    return Shape(total - new, new, max(1, len(forward.select)), len(forward.candidates))


def test_questions_packed_in_a_padded_row_are_decided_as_alone(bundle: Bundle, host: Session) -> None:
    asked = questions(bundle)[:4]
    buckets = ShapeBuckets(cached=(0,), new=(4096,), rows=(512,), candidates=(64,))
    session = open_device_session(bundle, shape_buckets=buckets)
    packed = decode_together(session, asked, session.empty_cache())
    for question, together in zip(asked, packed, strict=True):
        (alone,) = decode_together(host, [question], host.empty_cache())
        trie = question.layout.trie
        assert greedy_answer(trie, together.branches) == greedy_answer(trie, alone.branches)
        for row, expected in zip(together.branches, alone.branches, strict=True):
            assert np.exp(row) == pytest.approx(np.exp(expected), abs=1e-4)
