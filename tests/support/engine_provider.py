"""A provider that builds engines, without a GPU: the CPU's under the name and with the options of TensorRT.

What TensorRT does beside running the graph, `FakeEngineBuilds` does in the place of ONNX Runtime: it reads
the options that TensorRT is given, and writes, keeps and builds anew as ONNX Runtime's provider does.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from archroute_server.bundle.manifest import TENSORRT_GRAPH_FILE
from archroute_server.engine import loading
from archroute_server.engine.model import Model
from archroute_server.runtime import inference_session, providers, session
from archroute_server.runtime.engines.options import tensorrt_engines
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from archroute_server.runtime.shape_buckets import ShapeBuckets
from support.wrapped_model import WrappedModel

BUCKETS = ShapeBuckets(cached=(0, 64, 2048), new=(16, 64, 1024), rows=(4, 1024), candidates=(8, 512))


@dataclass
class FakeEngineBuilds:
    """Counts engines that were built, and fails or spoils them when told to."""

    built: int = 0
    fails: Exception | None = None
    """Raised in the place of building, after part of an engine was written."""
    writes: bool = True
    truncates: bool = False
    """Writes an engine in part, as to a disk that is full, and notices it when it is read."""
    doctor: Callable[[Model], Model] | None = None
    """Puts another model in the place of each that is loaded."""
    version: str = "10.16.1"
    capability: str = "9.0"
    profiles: list[Mapping[str, str]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """Be ONNX Runtime but for its session."""
        return getattr(ort, name)

    def InferenceSession(  # noqa: N802
        self,
        graph: Path,
        options: ort.SessionOptions,
        providers: Sequence[tuple[str, dict[str, str]]],
        **others: Any,
    ) -> ort.InferenceSession:
        (name, given), *_ = providers
        if "trt_engine_cache_path" in given:
            self._build(given)
        return ort.InferenceSession(graph, options, [name], **others)

    def _build(self, options: dict[str, str]) -> None:
        """Read or write an engine as ONNX Runtime's provider does while it loads a graph."""
        engine = Path(options["trt_engine_cache_path"]) / "TRTKernel_0_sm90.engine"
        profile = {name: text for name, text in options.items() if "profile" in name}
        self.profiles.append(profile)
        if engine.exists() and engine.read_text() == str(profile):
            return
        self.built += 1
        if self.fails is not None:
            engine.write_text("half of an eng")
            raise self.fails
        if self.writes:
            engine.write_text(str(profile)[: 5 if self.truncates else None])
            engine.with_name("TensorrtExecutionProvider_cache_sm90.timing").write_text("measured")

    def load_model(self, *arguments: object) -> Model:
        model: Model = session.Session(*arguments)  # type: ignore[arg-type]
        return model if self.doctor is None else self.doctor(model)


def install(monkeypatch: pytest.MonkeyPatch, buckets: ShapeBuckets = BUCKETS) -> FakeEngineBuilds:
    """Put the fake in the place of TensorRT, until the test ends."""
    fake = FakeEngineBuilds()
    engines = replace(
        tensorrt_engines(buckets),
        library_version=lambda: fake.version,
        compute_capability=lambda: fake.capability,
    )
    (cpu,) = (provider for provider in providers.PROVIDERS if provider.name == "cpu")
    provider = replace(
        cpu,
        name="tensorrt",
        graph=TENSORRT_GRAPH_FILE,
        batch_requests=16,
        shape_bucket=8,
        shape_buckets=buckets,
        engines=engines,
    )
    others = tuple(one for one in providers.PROVIDERS if one.name != "tensorrt")
    monkeypatch.setattr(providers, "PROVIDERS", (provider, *others))
    monkeypatch.setattr(inference_session, "ort", fake)
    monkeypatch.setattr(loading, "Session", fake.load_model)
    return fake


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@dataclass
class DoctoredModel(WrappedModel):
    """Gives the logits of `model`, each changed by `change`."""

    change: Callable[[Floats], Floats]

    def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
        logits, cache = self.model.run(forward, past)
        return self.change(logits), cache


def permuting(model: Model) -> Model:
    """Each candidate gets the logit of another."""
    return DoctoredModel(model, lambda logits: logits[:, ::-1].copy())


def perturbing(model: Model) -> Model:
    """Logits are coarse, as of arithmetic with too few bits."""
    return DoctoredModel(model, lambda logits: ((logits * 2).round() / 2).astype(logits.dtype))
