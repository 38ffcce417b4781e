"""The second exporter: its graph as an oracle for our own, and its bundles in the server."""

from pathlib import Path

import numpy as np
import pytest

from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.errors import ExportError
from archroute_export.exporters.exporter import ExporterName
from archroute_export.exporting import ExportRequest, export
from archroute_export.progress import Stages
from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.engine.loading import load_engine
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.runtime.optimum_session import OptimumSession
from archroute_server.runtime.providers import choose_provider
from support.bundles import open_session
from support.checkpoints import VOCABULARY_SIZE, write_tiny_checkpoint
from support.forwards import causal, tree

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

VOCABULARY = range(VOCABULARY_SIZE)
POLICIES = PolicySet("colours", (Policy("red", "Fire"), Policy("green", "Grass"), Policy("greenish", "Sea")))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("optimum") / "checkpoint"
    write_tiny_checkpoint(folder, layers=3, stored_type="bfloat16")
    return folder


def export_with(exporter: ExporterName, checkpoint: Path) -> Bundle:
    output = checkpoint.with_name(exporter)
    export(
        ExportRequest(
            str(checkpoint), output, "fp32", "arch-router/model-card", replace=False, exporter=exporter
        ),
        Stages(),
    )
    return open_bundle(output)


@pytest.fixture(scope="module")
def own(checkpoint: Path) -> Bundle:
    return export_with("archroute", checkpoint)


@pytest.fixture(scope="module")
def optimum(checkpoint: Path) -> Bundle:
    return export_with("optimum", checkpoint)


@pytest.fixture(scope="module")
def session(optimum: Bundle) -> OptimumSession:
    provider = choose_provider("cpu", "fp32")
    return OptimumSession(optimum.graph, optimum.manifest.model, provider, threads=1)


@pytest.mark.parametrize("prefix", [0, 1, 50])
def test_both_graphs_give_the_same_logits(own: Bundle, session: OptimumSession, prefix: int) -> None:
    tokens = np.random.default_rng(0).integers(0, VOCABULARY_SIZE, 90).tolist()
    found = []
    for model in (open_session(own), session):
        cache = model.empty_cache()
        if prefix:
            _, cache = model.run(causal(tokens[:prefix], [0]), cache)
        logits, cache = model.run(causal(tokens[prefix:], VOCABULARY, past=prefix), cache)
        assert cache.tokens == len(tokens)
        found.append(logits)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-3)
    assert found[0].std() > 0.3


def test_select_and_candidates_pick_from_its_logits(session: OptimumSession) -> None:
    tokens = [5, 6, 7, 8]
    whole, _ = session.run(causal(tokens, VOCABULARY), session.empty_cache())
    part, _ = session.run(causal(tokens, [9, 2], select=[3, 0]), session.empty_cache())
    np.testing.assert_array_equal(part, whole[[3, 0]][:, [9, 2]])


def test_it_reads_no_trees(session: OptimumSession) -> None:
    with pytest.raises(ValueError, match="reads sequences"):
        session.run(tree([5, 6, 7], [[8], [9]], [1]), session.empty_cache())


def test_its_bundle_says_what_made_it(optimum: Bundle, own: Bundle, checkpoint: Path) -> None:
    manifest = optimum.manifest
    assert manifest.exporter == "optimum"
    assert manifest.precision == "fp32"
    assert sorted(manifest.files) == ["model.onnx", "model.onnx.data", "tokenizer.json"]
    assert sorted(path.name for path in optimum.folder.iterdir()) == [
        "manifest.json",
        *sorted(manifest.files),
    ]
    assert manifest.parity.relative_error < 1e-5
    assert manifest.prompt == own.manifest.prompt
    assert (manifest.model, manifest.source) == (own.manifest.model, own.manifest.source)
    assert manifest.source.digest == SafetensorsFolder(checkpoint).digest


async def test_the_server_decides_the_same_with_either(own: Bundle, optimum: Bundle) -> None:
    answers = []
    for bundle in (own, optimum):
        engine = load_engine(bundle.folder, provider="cpu", threads=1, max_prompt_tokens=2048)
        answers.append(await engine.decide(POLICIES, [Message(Role.USER, "the colour of a leaf")]))
        await engine.close(grace=1)
    trees, loop = answers
    assert trees.tokens.forward_passes == 1
    assert trees.decision.policy == loop.decision.policy
    assert trees.decision.probability == pytest.approx(loop.decision.probability, abs=1e-4)


def test_a_checkpoint_that_optimum_cannot_read_is_refused_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("no such architecture")

    monkeypatch.setattr("optimum.exporters.onnx.main_export", fail)
    request = ExportRequest(
        str(checkpoint), tmp_path / "out", "fp32", "arch-router/model-card", replace=False, exporter="optimum"
    )
    with pytest.raises(ExportError, match="optimum cannot export it: 'no such architecture'"):
        export(request, Stages())
    assert list(tmp_path.iterdir()) == []
