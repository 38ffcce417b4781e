"""Execution providers: what each can do, and what it needs.

Names and needs are those of ONNX Runtime 1.31: the libraries are what `readelf --dynamic` lists as needed by
the providers' own libraries in its wheels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from archroute_server.bundle.manifest import GRAPH_FILE, TENSORRT_GRAPH_FILE
from archroute_server.runtime.engines.options import EngineOptions, tensorrt_engines, tensorrt_rtx_engines
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
class Library:
    """A shared library that a provider is linked to, and where to get it."""

    name: str
    """As the dynamic loader knows it."""
    remedy: str
    """How to get it, behind "get it"."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A provider in a Python package of its own, which ONNX Runtime loads at run time.

    See https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/usage.html
    """

    module: str
    """Has `get_library_path()`, the library to register."""
    bundled: tuple[str, ...] = ()
    """Libraries in the module's folder that the plugin needs and that importing the module does not load."""
    devices: str = ""
    """Which devices it runs on, for whoever has another."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to run the graph, what it can do, and what it needs."""

    name: str
    onnxruntime_name: str
    precisions: frozenset[str]
    """Of bundles that it runs well."""
    package: str
    """The distribution that brings it."""
    install: str
    """How to get that."""
    attention: str
    """The kernel that attention with a bias runs on, which the answers' tree needs."""
    graph: str = GRAPH_FILE
    """The file of the bundle that it runs."""
    device: str = "cpu"
    """ONNX Runtime's name of the device where the KV cache lies."""
    graph_capture: bool = False
    """Whether a forward pass is captured as a CUDA graph, if its shape is one of few."""
    batch_requests: int = 1
    """So many are worth deciding in one forward pass; a CPU is busy with one."""
    shape_bucket: int = 1
    """Cached and new tokens together are padded to a multiple of this, for the fastest attention kernels."""
    shape_buckets: ShapeBuckets | None = None
    """The shapes that forward passes are padded to, where the KV cache lies on a device."""
    engines: EngineOptions | None = None
    """How it builds engines ahead of serving, None if it needs none; `auto` takes no provider that does."""
    automatic: bool = False
    """Whether `auto` may take it."""
    cuda: int | None = None
    """The major version of CUDA that it needs a driver for."""
    libraries: tuple[Library, ...] = ()
    library_modules: tuple[str, ...] = ()
    """Python packages that load libraries when they are imported."""
    plugin: Plugin | None = None
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Its own options, as ONNX Runtime calls them."""
    beside: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    """Providers that run what this one leaves, before the CPU does: ONNX Runtime's names, with options."""


_CUDA_LIBRARIES = (
    Library("libcudart.so.13", "with pip install nvidia-cuda-runtime"),
    Library("libcublasLt.so.13", "with pip install nvidia-cublas"),
    Library("libcublas.so.13", "with pip install nvidia-cublas"),
    Library("libcurand.so.10", "with pip install nvidia-curand"),
)
# Later ones exist and do not fit: ONNX Runtime 1.31 is linked to TensorRT 10.
_TENSORRT = "with pip install tensorrt-cu13==10.16.1.11"
_TENSORRT_LIBRARIES = (
    Library("libcudnn.so.9", "with pip install nvidia-cudnn-cu13"),
    Library("libnvinfer.so.10", _TENSORRT),
    Library("libnvonnxparser.so.10", _TENSORRT),
)
_HALF_OR_FULL = frozenset({"fp32", "fp16"})
# By default CUDA multiplies float32 matrices in TF32, with 10 bits of mantissa, and fp32 bundles are there to
# compare with. https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#use_tf32
_CUDA_OPTIONS: Mapping[str, str] = {"use_tf32": "0"}

# In the order in which `auto` prefers them.
PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "tensorrt-rtx",
        "NvTensorRTRTXExecutionProvider",
        _HALF_OR_FULL,
        "onnxruntime-ep-nv-tensorrt-rtx-cu13",
        "pip install 'archroute[server,tensorrt-rtx]'",
        attention="as TensorRT for RTX fuses it",
        graph=TENSORRT_GRAPH_FILE,
        # Beside plain onnxruntime, which refuses to allocate on CUDA, the plugin copies in and out by itself.
        device="cpu",
        batch_requests=16,
        shape_bucket=8,
        shape_buckets=GPU_BUCKETS,
        engines=tensorrt_rtx_engines(GPU_BUCKETS),
        cuda=13,
        libraries=(
            Library(
                "libnvidia-ml.so.1", "from the NVIDIA driver, in a container with its capability `utility`"
            ),
            Library("libcudart.so.13", "with pip install nvidia-cuda-runtime"),
        ),
        plugin=Plugin(
            "onnxruntime_ep_nv_tensorrt_rtx",
            bundled=("libcudart.so.13*",),
            # `IsComputeCapabilitySupported` in the package's tensorrt_rtx_provider_options.h
            devices="NVIDIA GPUs of compute capability 8.6, 8.9, and from 12.0 on: GeForce RTX from 30xx on, "
            "and their siblings such as A10 and L40S, but neither A100 (8.0) nor H100 (9.0)",
        ),
    ),
    Provider(
        "tensorrt",
        "TensorrtExecutionProvider",
        _HALF_OR_FULL,
        "onnxruntime-gpu",
        "pip install 'archroute[gpu,tensorrt]'",
        attention="as TensorRT fuses it",
        graph=TENSORRT_GRAPH_FILE,
        device="cuda",
        batch_requests=16,
        shape_bucket=8,
        shape_buckets=GPU_BUCKETS,
        engines=tensorrt_engines(GPU_BUCKETS),
        cuda=13,
        libraries=_CUDA_LIBRARIES + _TENSORRT_LIBRARIES,
        library_modules=("tensorrt_libs",),
        beside={"CUDAExecutionProvider": _CUDA_OPTIONS},
    ),
    Provider(
        "cuda",
        "CUDAExecutionProvider",
        _HALF_OR_FULL,
        "onnxruntime-gpu",
        "pip install 'archroute[gpu]'",
        # Of the kernels that core/providers/cuda/llm/attention.cc tries, the first that takes a bias.
        # None does in float32 for keys and values that several heads share.
        attention="memory-efficient; in fp32 unfused",
        device="cuda",
        graph_capture=True,
        batch_requests=16,
        shape_bucket=8,
        shape_buckets=GPU_BUCKETS,
        automatic=True,
        cuda=13,
        libraries=_CUDA_LIBRARIES,
        options=_CUDA_OPTIONS,
    ),
    Provider(
        "cpu",
        "CPUExecutionProvider",
        frozenset({"fp32", "fp16", "int8", "int4"}),
        "onnxruntime",
        "pip install 'archroute[server]'",
        attention="unfused",
        automatic=True,
    ),
)
PROVIDER_NAMES = (AUTO, *(provider.name for provider in reversed(PROVIDERS)))


def choose_provider(name: str, precision: str) -> Provider:
    """Return the provider of that name, to run a bundle of `precision` on; `auto` is none.

    Raises `RuntimeLoadError` for an unknown name and a precision that the provider does not run.
    """
    provider = next((provider for provider in PROVIDERS if provider.name == name), None)
    if provider is None:
        raise RuntimeLoadError(f"there is no provider {name!r}; choose one of {', '.join(PROVIDER_NAMES)}")
    check_precision(provider, precision)
    return provider


def check_precision(provider: Provider, precision: str) -> None:
    """Raise `RuntimeLoadError` for a precision that the provider does not run."""
    if precision not in provider.precisions:
        raise RuntimeLoadError(
            f"the {provider.name} provider does not run a bundle of precision {precision}: export one with "
            f"--precision {' or '.join(sorted(provider.precisions))}, or use --provider cpu"
        )
