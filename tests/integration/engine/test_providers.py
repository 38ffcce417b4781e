"""Providers with a real session: a plugin whose devices are the CPU's, and what `auto` does without CUDA."""

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from archroute.v1 import router_pb2
from archroute_server.bundle.bundle import Bundle
from archroute_server.engine.loading import load_engine
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.rpc.convert import Question, write_response
from archroute_server.runtime import provider_choice
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.forward import Forward
from archroute_server.runtime.inference_session import load_graph
from archroute_server.runtime.providers import Plugin, Provider
from archroute_server.runtime.session import Session
from support.bundles import export_bundle, open_session
from support.checkpoints import write_tiny_checkpoint

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this build of ONNX Runtime has CUDA"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("providers")
    write_tiny_checkpoint(folder / "checkpoint")
    return export_bundle(folder / "checkpoint", folder / "bundle")


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a package lies that is a plugin, with a library that is none."""
    library = tmp_path / "libmade_up.so"
    library.write_text("not a library")
    (tmp_path / f"{module_name(tmp_path)}.py").write_text(
        f"def get_library_path():\n    return {str(library)!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def module_name(folder: Path) -> str:
    return "made_up_plugin_" + folder.name.replace("-", "_")


def plugin_provider(folder: Path, onnxruntime_name: str = "CPUExecutionProvider") -> Provider:
    return Provider(
        "made-up",
        onnxruntime_name,
        frozenset({"fp32"}),
        "made-up",
        "pip install made-up",
        "unfused",
        plugin=Plugin(module_name(folder), devices="devices that nobody has"),
    )


def test_a_session_on_the_device_of_a_plugin(
    bundle: Bundle, plugin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[tuple[str, str]] = []
    monkeypatch.setattr(
        ort, "register_execution_provider_library", lambda *library: registered.append(library)
    )
    forward = Forward(
        token_ids=np.array([3, 4, 5]),
        positions=np.arange(3),
        visible=np.tri(3, dtype=np.bool_),
        select=np.array([2]),
        candidates=np.array([6, 7]),
    )
    plain = open_session(bundle)
    expected, _ = plain.run(forward, plain.empty_cache())
    provider = plugin_provider(plugin_folder)
    for _ in range(2):
        session = Session(bundle.graph, bundle.manifest.model, provider, threads=1)
        logits, _ = session.run(forward, session.empty_cache())
        np.testing.assert_array_equal(logits, expected)
    # ONNX Runtime would refuse it a second time.
    assert registered == [("CPUExecutionProvider", str(plugin_folder / "libmade_up.so"))]


def test_a_plugin_that_onnxruntime_cannot_load(bundle: Bundle, plugin_folder: Path) -> None:
    with pytest.raises(RuntimeLoadError) as refused:
        load_graph(bundle.graph, plugin_provider(plugin_folder), 1)
    message = str(refused.value)
    assert "cannot load the plugin of the made-up provider" in message
    assert "libmade_up.so" in message
    assert message.endswith("pip install made-up, or use --provider cpu")


def test_a_plugin_without_a_device(
    bundle: Bundle, plugin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda name, library: None)
    with pytest.raises(
        RuntimeLoadError, match=r"runs on devices that nobody has; here it finds no such device"
    ):
        load_graph(bundle.graph, plugin_provider(plugin_folder, "NobodysExecutionProvider"), 1)


@without_cuda
async def test_auto_falls_back_in_the_open(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As if the packages for a GPU were there; what they would need is looked for on this machine.
    monkeypatch.setattr(provider_choice, "is_installed", lambda provider: True)
    with caplog.at_level(logging.WARNING):
        engine = load_engine(bundle.folder, provider="auto", threads=1, max_prompt_tokens=2048)
    (event,) = caplog.records
    assert event.getMessage() == "the model does not run on the preferred provider"
    assert event.fields.items() >= {"provider": "cpu", "preferred": "cuda"}.items()  # type: ignore[attr-defined]
    assert "has no CUDAExecutionProvider" in event.fields["reason"]  # type: ignore[attr-defined]
    assert engine.identity.preferred_provider == "cuda"
    policies = PolicySet("", (Policy("code", "Writing code"), Policy("travel", "Planning travel")))
    messages = (Message(Role.USER, "please fix this"),)
    answer = await engine.decide(policies, messages)
    await engine.close(grace=0)
    response = write_response(
        answer, Question(policies, messages, 0.0), router_pb2.RouteRequest(), engine.identity, total=1.0
    )
    assert response.revisions.provider == "cpu"


@without_cuda
async def test_auto_is_quiet_where_nobody_wanted_a_gpu(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    engine = load_engine(bundle.folder, provider="auto", threads=1, max_prompt_tokens=2048)
    await engine.close(grace=0)
    assert not caplog.records
    assert (engine.identity.provider, engine.identity.preferred_provider) == ("cpu", None)
