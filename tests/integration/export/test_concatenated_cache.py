"""The graph for TensorRT computes what the graph for everyone else does, in a form that TensorRT reads."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from archroute_server.bundle.bundle import Bundle
from archroute_server.bundle.manifest import TENSORRT_GRAPH_FILE, PrecisionName
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.host_cache import HostCache
from archroute_server.runtime.providers import choose_provider
from archroute_server.runtime.session import Session
from support.bundles import export_bundle, open_session
from support.checkpoints import VOCABULARY_SIZE, write_tiny_checkpoint
from support.forwards import causal

PROMPT = np.random.default_rng(0).integers(0, VOCABULARY_SIZE, 24).tolist()
CANDIDATES = [3, 4, 5]


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    precision: PrecisionName = request.param
    folder: Path = tmp_path_factory.mktemp(precision)
    write_tiny_checkpoint(folder / "checkpoint")
    return export_bundle(folder / "checkpoint", folder / "bundle", precision)


def open_tensorrt_graph(bundle: Bundle) -> Session:
    provider = choose_provider("cpu", bundle.manifest.precision)
    return Session(bundle.folder / TENSORRT_GRAPH_FILE, bundle.manifest.model, provider, threads=1)


def passes(session: Session) -> tuple[list[Floats], HostCache]:
    """Read a prompt in two passes, the second behind the cache of the first."""
    first: Forward = causal(PROMPT[:10], CANDIDATES)
    begun, cache = session.run(first, session.empty_cache())
    ended, cache = session.run(causal(PROMPT[10:], CANDIDATES, past=10), cache)
    assert isinstance(cache, HostCache)
    return [begun, ended], cache


def test_logits_and_cache_are_the_same(bundle: Bundle) -> None:
    # Half precision rounds differently where it is added up in another order.
    tolerance = 1e-5 if bundle.manifest.precision == "fp32" else 2e-2
    expected, expected_cache = passes(open_session(bundle))
    found, cache = passes(open_tensorrt_graph(bundle))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)
    for ours, theirs in zip(cache.arrays, expected_cache.arrays, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_attention_has_one_output_and_the_weights_are_shared(bundle: Bundle) -> None:
    path = bundle.folder / TENSORRT_GRAPH_FILE
    attentions = [node for node in ir.load(path).graph if node.op_type == "Attention"]
    assert len(attentions) == bundle.manifest.model.layers
    assert {(len(node.inputs), len(node.outputs)) for node in attentions} == {(4, 1)}
    assert sorted(bundle.manifest.files) == ["model.onnx", "model.onnx.data", path.name, "tokenizer.json"]
    ours, theirs = ir.load(path).graph, ir.load(bundle.graph).graph
    assert [value.name for value in ours.inputs] == [value.name for value in theirs.inputs]
    assert [value.name for value in ours.outputs] == [value.name for value in theirs.outputs]
