"""The peers: who is measured, from which files, and what has to be installed for it."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version


@dataclass(frozen=True)
class Peer:
    """One library in one precision.

    `backend` is `module:class` in `peers.backends`, and `files` what it loads out of the shape's folder.
    `modules` are what it imports, `distributions` whose versions are reported, the first one naming it.
    """

    name: str
    title: str
    backend: str
    files: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is archroute itself."""
        return self.name.startswith("archroute")

    def missing(self) -> str:
        """Return the first module that is not installed, or an empty text."""
        return next((module for module in self.modules if not _is_installed(module)), "")

    def versions(self) -> dict[str, str]:
        """Return the versions of what is installed of its distributions."""
        return {name: version(name) for name in self.distributions}


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a module inside a package that is missing itself
        return False


ENGINE = "archroute"
SERVER = "archroute-grpc"

PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            ENGINE,
            "archroute int8, in process",
            "archroute_engine:ArchrouteEngine",
            "archroute-int8",
            ("archroute_server", "onnxruntime"),
            ("archroute", "onnxruntime"),
        ),
        Peer(
            SERVER,
            "archroute int8, over gRPC",
            "archroute_server:ArchrouteServer",
            "archroute-int8",
            ("archroute_server", "onnxruntime", "grpc"),
            ("archroute", "onnxruntime", "grpcio"),
        ),
        Peer(
            "onnxruntime-genai",
            "onnxruntime-genai int4",
            "onnxruntime_genai:OnnxRuntimeGenai",
            "genai-int4",
            ("onnxruntime_genai", "torch", "transformers"),
            ("onnxruntime-genai", "onnxruntime"),
        ),
        Peer(
            "llama.cpp-q4_0",
            "llama.cpp Q4_0",
            "llama_cpp:LlamaCpp",
            "q4_0.gguf",
            ("llama_cpp",),
            ("llama-cpp-python",),
        ),
        Peer(
            "llama.cpp-q8_0",
            "llama.cpp Q8_0",
            "llama_cpp:LlamaCpp",
            "q8_0.gguf",
            ("llama_cpp",),
            ("llama-cpp-python",),
        ),
        Peer(
            "openvino-genai",
            "OpenVINO GenAI int8",
            "openvino_genai:OpenvinoGenai",
            "openvino-int8",
            ("openvino_genai", "optimum.intel", "nncf"),
            ("openvino-genai", "openvino", "optimum-intel", "nncf"),
        ),
        Peer(
            "optimum",
            "optimum ORTModelForCausalLM fp32",
            "optimum:Optimum",
            "optimum-fp32",
            ("optimum.onnxruntime", "torch", "transformers"),
            ("optimum-onnx", "onnxruntime", "transformers"),
        ),
        Peer(
            "transformers-fp32",
            "transformers fp32",
            "transformers:Transformers",
            "checkpoint",
            ("torch", "transformers"),
            ("transformers", "torch"),
            {"precision": "float32"},
        ),
        Peer(
            "transformers-bf16",
            "transformers bf16",
            "transformers:Transformers",
            "checkpoint",
            ("torch", "transformers"),
            ("transformers", "torch"),
            {"precision": "bfloat16"},
        ),
    )
}
