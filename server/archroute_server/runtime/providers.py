"""Execution providers: which there are, and which one a session gets."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnxruntime as ort

from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.shape_buckets import ShapeBuckets

AUTO = "auto"

# For --max-prompt-tokens 4096 with --tree-tokens 1024 behind it, and for --batch-tokens 2048, of which each
# can be a row. Coarse where a size costs little: of the work on the 1.5B shape, rows and candidates are less
# than a hundredth, and cached tokens cost attention alone.
GPU_BUCKETS = ShapeBuckets(
    cached=(0, 256, 512, 1024, 2048, 3072, 4096, 5120),
    new=(32, 64, 128, 256, 512, 1024, 2048),
    rows=(16, 128, 2048),
    candidates=(32, 256, 2048),
)


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to run the graph.

    `precisions` are those that it runs well; `install` says how to get it. So many `batch_requests` are worth
    deciding in one forward pass; a CPU is busy with one. Cached and new tokens together are padded to a
    multiple of `shape_bucket`, for which attention has its fastest kernels.
    """

    name: str
    onnxruntime_name: str
    precisions: frozenset[str]
    install: str
    batch_requests: int = 1
    shape_bucket: int = 1
    device: str = "cpu"
    """ONNX Runtime's name of the device whose memory holds the KV cache."""
    shape_buckets: ShapeBuckets | None = None
    """The shapes that forward passes are padded to; see `DeviceSession`."""
    graph_capture: bool = False
    """Whether forward passes of these shapes are captured as CUDA graphs."""


# In the order in which `auto` prefers them.
PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "tensorrt",
        "TensorrtExecutionProvider",
        frozenset({"fp32", "fp16"}),
        "pip install 'archroute[gpu]' and the TensorRT 10 libraries, on a machine with an NVIDIA GPU",
        batch_requests=16,
        shape_bucket=8,
        device="cuda",
        shape_buckets=GPU_BUCKETS,
    ),
    Provider(
        "cuda",
        "CUDAExecutionProvider",
        frozenset({"fp32", "fp16"}),
        "pip install 'archroute[gpu]', on a machine with an NVIDIA GPU",
        batch_requests=16,
        shape_bucket=8,
        device="cuda",
        shape_buckets=GPU_BUCKETS,
        graph_capture=True,
    ),
    Provider(
        "cpu",
        "CPUExecutionProvider",
        frozenset({"fp32", "fp16", "int8", "int4"}),
        "pip install 'archroute[server]'",
    ),
)
PROVIDER_NAMES = (AUTO, *(provider.name for provider in reversed(PROVIDERS)))


def available_providers() -> list[str]:
    """Return ONNX Runtime's names of the providers that the installed build has."""
    names: list[str] = ort.get_available_providers()
    return names


def choose_provider(wanted: str, precision: str, available: Sequence[str]) -> Provider:
    """Return the provider to run a bundle of `precision` on.

    `available` are ONNX Runtime's names of the providers that this build has. `auto` takes the CUDA
    provider where there is one and the precision suits it, and the CPU otherwise; TensorRT builds its
    engines for minutes, so it is only taken when it is named.

    Raises `RuntimeLoadError` for an unknown name, a provider that this build lacks, and a precision that
    the provider does not run.
    """
    if wanted == AUTO:
        return next(
            provider
            for provider in PROVIDERS
            if provider.name != "tensorrt"
            and provider.onnxruntime_name in available
            and precision in provider.precisions
        )
    provider = next((provider for provider in PROVIDERS if provider.name == wanted), None)
    if provider is None:
        raise RuntimeLoadError(f"there is no provider {wanted!r}; choose one of {', '.join(PROVIDER_NAMES)}")
    if provider.onnxruntime_name not in available:
        raise RuntimeLoadError(
            f"this ONNX Runtime has no {provider.onnxruntime_name}: {provider.install}, or use --provider cpu"
        )
    if precision not in provider.precisions:
        raise RuntimeLoadError(
            f"the {provider.name} provider does not run a bundle of precision {precision}: export one with "
            f"--precision {' or '.join(sorted(provider.precisions))}, or use --provider cpu"
        )
    return provider
