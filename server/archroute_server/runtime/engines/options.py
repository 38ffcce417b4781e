"""EngineOptions: how a provider that builds engines is told what for, and where to keep them.

An engine is a graph compiled for one GPU architecture by one version of a library. Without explicit profiles
ONNX Runtime builds it when the first input comes, and again for each shape outside of those that came before,
for minutes each time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from archroute_server.bundle.engine_manifest import EngineKey
from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.runtime.cuda_driver import compute_capability
from archroute_server.runtime.engines.profile import EngineProfile, profile_text
from archroute_server.runtime.engines.versions import tensorrt_rtx_version, tensorrt_version
from archroute_server.runtime.shape_buckets import ShapeBuckets


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one provider builds engines for `buckets`.

    `profile_option` names the option of the "min", "opt" or "max" shapes, in the place of `{}`.
    `cache_options` tell of the folder for what the provider writes. `library` names what builds the engines,
    and `library_version` and `compute_capability` find out what else they depend on.
    """

    buckets: ShapeBuckets
    profile_option: str
    cache_options: Callable[[Path], Mapping[str, str]]
    library: str
    library_version: Callable[[], str]
    compute_capability: Callable[[], str] = compute_capability

    def options(self, model: ModelDimensions, folder: Path) -> dict[str, str]:
        """Return the provider's options for engines of a model that are kept in `folder`."""
        shapes = self._profile(model)
        return {
            **{self.profile_option.format(bound): text for bound, text in shapes.items()},
            **self.cache_options(folder),
        }

    def key(self, provider: str, bundle_digest: str, model: ModelDimensions) -> EngineKey:
        """Return what the engines of a bundle depend on, on this machine. Raises `RuntimeLoadError`."""
        return EngineKey(
            provider=provider,
            bundle_digest=bundle_digest,
            compute_capability=self.compute_capability(),
            versions={"onnxruntime": ort.__version__, self.library: self.library_version()},
            profile=self._profile(model),
        )

    def _profile(self, model: ModelDimensions) -> dict[str, str]:
        shapes = EngineProfile.of(self.buckets).input_shapes(model)
        return {bound: profile_text(sizes) for bound, sizes in shapes.items()}


def tensorrt_engines(buckets: ShapeBuckets) -> EngineOptions:
    """Return how TensorRT builds engines.

    `trt_fp16_enable` is left off: without it ONNX Runtime makes a strongly typed network, which computes each
    tensor in the type that the graph gives it, so that norms and softmax stay in float32. The timing cache
    has what TensorRT measured of its kernels, and is gone by when engines are built again. The options are
    those of https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
    """

    def cache(folder: Path) -> Mapping[str, str]:
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }

    return EngineOptions(buckets, "trt_profile_{}_shapes", cache, "TensorRT", tensorrt_version)


def tensorrt_rtx_engines(buckets: ShapeBuckets) -> EngineOptions:
    """Return how TensorRT-RTX does.

    It builds engines at each start, in seconds, and compiles kernels for the shapes that come; a session
    writes these when it ends. The options are those of `src/tensorrt_rtx_provider_options.h` in
    https://github.com/NVIDIA/TensorRT-RTX-EP-ABI
    """
    return EngineOptions(
        buckets,
        "nv_profile_{}_shapes",
        lambda folder: {"nv_runtime_cache_path": str(folder)},
        "TensorRT-RTX",
        tensorrt_rtx_version,
    )
