"""The exported graph, run by the server's session, against transformers on the same checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archroute_export.checkpoint.open import open_checkpoint
from archroute_export.parity.case import ParityCase
from archroute_export.parity.reference import reference_logits
from archroute_server.bundle.manifest import PrecisionName
from archroute_server.runtime.session import Session
from support.bundles import export_bundle, open_session
from support.checkpoints import VOCABULARY_SIZE, write_tiny_checkpoint
from support.forwards import causal, tree

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-3
VOCABULARY = range(VOCABULARY_SIZE)

LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CHECKPOINTS: Mapping[str, Mapping[str, Any]] = {
    "qwen2-tied": {"family": "qwen2", "tied": True},
    "qwen2-untied": {"family": "qwen2", "tied": False, "kv_heads": 1, "seed": 1},
    "llama-tied": {"family": "llama", "tied": True, "seed": 2},
    "llama-untied": {"family": "llama", "tied": False, "kv_heads": 4, "seed": 3},
    "llama-biased": {"family": "llama", "config_fields": {"attention_bias": True}, "seed": 4},
    "llama-wide-heads": {"family": "llama", "hidden": 96, "heads": 3, "kv_heads": 3, "seed": 5},
    "llama-linear-rope": {
        "family": "llama",
        "config_fields": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        "seed": 6,
    },
    "llama-llama3-rope": {"family": "llama", "config_fields": {"rope_scaling": LLAMA3_SCALING}, "seed": 7},
    "qwen2-bfloat16": {"family": "qwen2", "stored_type": "bfloat16", "seed": 8},
}


@dataclass(frozen=True)
class Exported:
    """A checkpoint, its graph in fp32, and what transformers says of `tokens`."""

    folder: Path
    session: Session
    tokens: list[int]
    logits: np.ndarray


@pytest.fixture(scope="module", params=CHECKPOINTS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    import torch

    from support.transformers_oracle import TransformersOracle

    folder = tmp_path_factory.mktemp(request.param)
    write_tiny_checkpoint(folder / "checkpoint", **CHECKPOINTS[request.param])
    bundle = export_bundle(folder / "checkpoint", folder / "bundle")
    tokens = np.random.default_rng(0).integers(0, VOCABULARY_SIZE, 120).tolist()
    oracle = TransformersOracle(folder / "checkpoint", torch.float64)
    return Exported(folder / "checkpoint", open_session(bundle), tokens, oracle.logits(tokens))


def test_every_position_has_the_logits_of_transformers(exported: Exported) -> None:
    session = exported.session
    logits, cache = session.run(causal(exported.tokens, VOCABULARY), session.empty_cache())
    np.testing.assert_allclose(logits, exported.logits, rtol=0, atol=TOLERANCE)
    assert cache.tokens == len(exported.tokens)
    # The tolerance would be empty words if the logits were all but equal.
    assert exported.logits.std() > 0.3


@pytest.mark.parametrize("prefix", [1, 60, 119])
def test_a_prefix_may_come_from_the_cache(exported: Exported, prefix: int) -> None:
    session, tokens = exported.session, exported.tokens
    _, cache = session.run(causal(tokens[:prefix], VOCABULARY, select=[0]), session.empty_cache())
    logits, cache = session.run(causal(tokens[prefix:], VOCABULARY, past=prefix), cache)
    np.testing.assert_allclose(logits, exported.logits[prefix:], rtol=0, atol=TOLERANCE)
    assert cache.tokens == len(tokens)


def test_select_and_candidates_give_part_of_the_same_logits(exported: Exported) -> None:
    session = exported.session
    rows, columns = [119, 3, 3, 64], [7, 2, VOCABULARY_SIZE - 1]
    logits, _ = session.run(causal(exported.tokens, columns, select=rows), session.empty_cache())
    np.testing.assert_allclose(logits, exported.logits[rows][:, columns], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("past", [0, 50])
def test_endings_in_a_tree_do_not_see_one_another(exported: Exported, past: int) -> None:
    from support.transformers_oracle import TransformersOracle

    session, prompt = exported.session, exported.tokens[:100]
    endings = [exported.tokens[100:], [5, 6, 7], [5, 6, 8, 9]]
    cache = session.empty_cache()
    if past:
        _, cache = session.run(causal(prompt[:past], [0], select=[0]), cache)
    logits, _ = session.run(tree(prompt, endings, VOCABULARY, past), cache)
    oracle = TransformersOracle(exported.folder)
    start = len(prompt) - past
    for ending in endings:
        expected = oracle.logits([*prompt, *ending])[len(prompt) :]
        found = logits[start : start + len(ending)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
        start += len(ending)


def test_the_reference_of_the_parity_check_agrees_with_transformers(exported: Exported) -> None:
    checkpoint = open_checkpoint(str(exported.folder))
    tokens, candidates = exported.tokens, np.arange(VOCABULARY_SIZE)
    whole = ParityCase(tuple(tokens[:1]), (tuple(tokens[1:]),), candidates)
    # Two cases, and an answer before the one that is compared, which must not see them.
    parted = ParityCase(tuple(tokens[:80]), ((5, 6, 7), tuple(tokens[80:])), candidates)
    [first], [_, second] = reference_logits(checkpoint, [whole, parted])
    np.testing.assert_allclose(first, exported.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(second, exported.logits[79:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("checkpoint", ["llama-linear-rope", "llama-llama3-rope"])
def test_rotary_scaling_matters_to_these_logits(tmp_path: Path, checkpoint: str) -> None:
    """Without it they are far outside the tolerance, so the comparison above covers it."""
    options = dict(CHECKPOINTS[checkpoint])
    scaled = _logits(tmp_path / "scaled", options)
    options.pop("config_fields")
    plain = _logits(tmp_path / "plain", options)
    assert np.abs(scaled - plain).max() > 100 * TOLERANCE


# The root mean square of the difference over the standard deviation of the logits.
@pytest.mark.parametrize(("precision", "bound"), [("fp16", 5e-3), ("int8", 0.05), ("int4", 0.4)])
@pytest.mark.parametrize("checkpoint", ["qwen2-tied", "qwen2-untied", "llama-biased"])
def test_lower_precisions_stay_close_to_fp32(
    tmp_path: Path, checkpoint: str, precision: PrecisionName, bound: float
) -> None:
    exact = _logits(tmp_path / "fp32", CHECKPOINTS[checkpoint])
    lower = _logits(tmp_path / precision, CHECKPOINTS[checkpoint], precision)
    error = np.sqrt(np.mean((lower - exact) ** 2)) / exact.std()
    # A lower bound too: an export that ignored the precision would pass otherwise.
    assert 1e-5 < error < bound


def _logits(folder: Path, options: Mapping[str, Any], precision: PrecisionName = "fp32") -> np.ndarray:
    write_tiny_checkpoint(folder / "checkpoint", **options)
    session = open_session(export_bundle(folder / "checkpoint", folder / "bundle", precision))
    tokens = np.random.default_rng(1).integers(0, VOCABULARY_SIZE, 150).tolist()
    logits, _ = session.run(causal(tokens, VOCABULARY), session.empty_cache())
    return logits
