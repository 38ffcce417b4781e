"""CUDA graphs of forward passes, with a session on the CPU that replays bindings as they do."""

import logging
from pathlib import Path

import numpy as np
import pytest

from archroute_server.bundle.bundle import Bundle
from archroute_server.runtime.device import session as device_session
from archroute_server.runtime.device.session import DeviceSession
from archroute_server.runtime.forward import Floats
from archroute_server.runtime.session import Session
from archroute_server.runtime.shape_buckets import ShapeBuckets
from support.bundles import export_bundle, open_device_session, open_session
from support.capturing_session import CapturingSession, capturing_loader
from support.checkpoints import VOCABULARY_SIZE, write_tiny_checkpoint
from support.forwards import causal

BUCKETS = ShapeBuckets(cached=(0, 16), new=(8, 32), rows=(32,), candidates=(8,))
PROMPTS = [
    np.random.default_rng(seed).integers(0, VOCABULARY_SIZE, length).tolist()
    for seed, length in enumerate((5, 20, 7, 30, 8, 12, 20))
]
TOO_LONG = list(range(40))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("capture")
    write_tiny_checkpoint(folder / "checkpoint")
    return export_bundle(folder / "checkpoint", folder / "bundle")


def logits_of(session: Session | DeviceSession, prompt: list[int], cached: int = 0) -> Floats:
    past = session.empty_cache()
    if cached:
        past = session.run(causal(prompt[:cached], [0], select=[]), past)[1].slice(0, cached)
    return session.run(causal(prompt[cached:], [3, 4, 5], past=cached), past)[0]


def assert_right(session: DeviceSession, bundle: Bundle) -> None:
    """Run passes of every bucket, over and over, and one that fits none."""
    host = open_session(bundle)
    for prompt in (*PROMPTS, TOO_LONG, *PROMPTS):
        for cached in (0, 3):
            expected = logits_of(host, prompt, cached)
            np.testing.assert_allclose(logits_of(session, prompt, cached), expected, atol=1e-4)


def test_what_is_replayed_reads_the_inputs_of_each_pass(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[CapturingSession] = []
    monkeypatch.setattr(device_session, "load_graph", capturing_loader(sessions))
    session = open_device_session(bundle, shape_buckets=BUCKETS, graph_capture=True)
    assert_right(session, bundle)
    [capturing] = sessions
    # Four buckets, each with a number of its own, and none is 0; what fits no bucket is not captured.
    assert sorted(capturing.captured) == ["1", "2", "3", "4"]
    assert len(capturing.runs) > 2 * len(capturing.captured)
    assert capturing.runs.count("-1") == 2


def test_nothing_is_captured_unless_the_provider_does(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[CapturingSession] = []
    monkeypatch.setattr(device_session, "load_graph", capturing_loader(sessions))
    assert_right(open_device_session(bundle, shape_buckets=BUCKETS), bundle)
    assert set(sessions[0].runs) == {"-1"}


def test_a_graph_that_cannot_be_captured_is_loaded_without(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sessions: list[CapturingSession] = []
    monkeypatch.setattr(device_session, "load_graph", capturing_loader(sessions, refuses=True))
    with caplog.at_level(logging.WARNING):
        session = open_device_session(bundle, shape_buckets=BUCKETS, graph_capture=True)
    assert "the cpu provider runs without CUDA graphs: " in caplog.text
    assert "have not been partitioned" in caplog.text
    assert_right(session, bundle)
    assert set(sessions[0].runs) == {"-1"}


def test_a_pass_that_cannot_be_captured_is_run_without(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sessions: list[CapturingSession] = []
    monkeypatch.setattr(device_session, "load_graph", capturing_loader(sessions, fails=True))
    session = open_device_session(bundle, shape_buckets=BUCKETS, graph_capture=True)
    with caplog.at_level(logging.WARNING):
        assert_right(session, bundle)
    # Each bucket is tried once, whatever became of the others, and every pass is run.
    assert len(caplog.records) == 4
    for record in caplog.records:
        assert "cannot be captured as a CUDA graph" in record.getMessage()
        assert "not permitted when stream is capturing" in record.getMessage()
    tried = [run for run in sessions[0].runs if run != "-1"]
    assert tried == ["1", "2", "3", "4"]
