"""The fp16 graph on the CPU provider against the fp32 one: decisions, trees, padding, and hidden rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from archroute_server.bundle.bundle import Bundle
from archroute_server.engine.layout import lay_out
from archroute_server.engine.one_pass import decode_together
from archroute_server.engine.packed_row import Question
from archroute_server.router.answer import answer_trie
from archroute_server.router.decision import greedy_answer
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.runtime.device.session import DeviceSession
from archroute_server.runtime.session import Session
from archroute_server.runtime.shape_buckets import ShapeBuckets
from support.bundles import export_bundle, open_device_session, open_encoder, open_session
from support.checkpoints import VOCABULARY_SIZE, write_tiny_checkpoint
from support.device_caches import keys_and_values
from support.forwards import causal, tree

FAMILIES = ("qwen2", "llama")
BUCKETS = ShapeBuckets(cached=(0, 64, 1024), new=(64, 2048), rows=(64, 256), candidates=(64, 640))
POLICIES = PolicySet(
    "", tuple(Policy(name, name) for name in ("data", "database", "databases", "code", "cod"))
)
TEXTS = ("write a function", "is this loop any good?", "translate that", "thanks, bye", "a" * 40)


@pytest.fixture(scope="module", params=FAMILIES)
def bundles(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Bundle]:
    folder: Path = tmp_path_factory.mktemp("half")
    write_tiny_checkpoint(folder / "checkpoint", family=request.param)
    half, full = (export_bundle(folder / "checkpoint", folder / name, name) for name in ("fp16", "fp32"))  # type: ignore[arg-type]
    return half, full


def test_the_inputs_and_outputs_are_those_of_fp32_but_for_the_float_type(
    bundles: tuple[Bundle, Bundle],
) -> None:
    half, full = (onnx.load(bundle.graph, load_external_data=False).graph for bundle in bundles)
    for ours, theirs in ((half.input, full.input), (half.output, full.output)):
        assert [value.name for value in ours] == [value.name for value in theirs]
        for value, other in zip(ours, theirs, strict=True):
            kind, wanted = value.type.tensor_type, other.type.tensor_type
            assert kind.shape == wanted.shape
            halved = wanted.elem_type == onnx.TensorProto.FLOAT and value.name != "logits"
            assert kind.elem_type == (onnx.TensorProto.FLOAT16 if halved else wanted.elem_type)


def test_norms_softmax_and_logits_are_computed_in_fp32(bundles: tuple[Bundle, Bundle]) -> None:
    graph = onnx.load(bundles[0].graph, load_external_data=False).graph
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        nodes.setdefault(node.op_type, []).append(node)
    assert {attribute(node, "stash_type") for node in nodes["RMSNormalization"]} == {onnx.TensorProto.FLOAT}
    assert {attribute(node, "softmax_precision") for node in nodes["Attention"]} == {onnx.TensorProto.FLOAT}
    # Both factors of the logits are cast, and nothing else is.
    [head] = nodes["Gemm"]
    assert {name for node in nodes["Cast"] for name in node.output} == set(head.input)
    assert {attribute(node, "to") for node in nodes["Cast"]} == {onnx.TensorProto.FLOAT}


def attribute(node: onnx.NodeProto, name: str) -> int:
    [value] = [each.i for each in node.attribute if each.name == name]
    return value


def open_half(bundle: Bundle, where: str) -> Session | DeviceSession:
    if where == "host":
        return open_session(bundle)
    return open_device_session(bundle, shape_bucket=8, shape_buckets=BUCKETS if where == "buckets" else None)


@pytest.mark.parametrize("where", ["host", "device", "buckets"])
@pytest.mark.parametrize("cached", [0, 37])
def test_a_padded_tree_has_nearly_the_logits_of_fp32(
    bundles: tuple[Bundle, Bundle], where: str, cached: int
) -> None:
    random = np.random.default_rng(3)
    prompt = random.integers(0, VOCABULARY_SIZE, 60).tolist()
    endings = [random.integers(0, VOCABULARY_SIZE, length).tolist() for length in (3, 1, 6, 2)]
    forward = tree(prompt, endings, range(VOCABULARY_SIZE), cached)
    found, expected = (
        logits_on(session, prompt[:cached], forward)
        for session in (open_half(bundles[0], where), open_session(bundles[1]))
    )
    error = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    # A lower bound too: comparing a graph with itself would pass otherwise.
    assert 1e-5 < error < 5e-3


def logits_on(session, cached, forward):  # type: ignore[no-untyped-def]
    past = session.empty_cache()
    if cached:
        past = session.run(causal(cached, [0], select=[]), past)[1].slice(0, len(cached))
    return session.run(forward, past)[0]


@pytest.mark.parametrize("where", ["host", "buckets"])
def test_packed_questions_get_the_decisions_of_fp32(bundles: tuple[Bundle, Bundle], where: str) -> None:
    half, full = open_half(bundles[0], where), open_session(bundles[1])
    encoder, end = open_encoder(bundles[1]), bundles[1].manifest.prompt.end_of_turn
    layout = lay_out(answer_trie(POLICIES, encoder.variant, encoder.tokenizer, end))
    asked = [
        Question(encoder.encode(POLICIES, [Message(Role.USER, text)]).token_ids, layout) for text in TEXTS
    ]
    for questions in (asked[:3], asked[3:]):
        packed = decode_together(half, questions, half.empty_cache(), multiple=8)
        for question, decoded in zip(questions, packed, strict=True):
            (exact,) = decode_together(full, [question], full.empty_cache())
            assert greedy_answer(layout.trie, decoded.branches) == greedy_answer(layout.trie, exact.branches)
            for row, expected in zip(decoded.branches, exact.branches, strict=True):
                assert np.exp(row) == pytest.approx(np.exp(expected), abs=5e-3)


@pytest.mark.parametrize("precision", [0, 1], ids=["fp16", "fp32"])
def test_a_row_that_sees_nothing_is_finite_and_spoils_no_other(
    bundles: tuple[Bundle, Bundle], precision: int
) -> None:
    """Whatever a kernel makes of a row that is all hidden, hiding is finite, so that it is a number."""
    session = open_session(bundles[precision])
    forward = causal([5, 6, 7, 8], range(20))
    visible = forward.visible.copy()
    visible[3] = False
    found, cache = session.run(replace(forward, visible=visible), session.empty_cache())
    expected, _ = session.run(forward, session.empty_cache())
    assert np.isfinite(found).all()
    assert np.isfinite(keys_and_values(cache)).all()
    np.testing.assert_allclose(found[:3], expected[:3], atol=1e-2)
    # The row did hide something.
    assert np.abs(found[3] - expected[3]).max() > 0.05
