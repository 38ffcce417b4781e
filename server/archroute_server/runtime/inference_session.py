"""Loading a graph into ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime as ort

from archroute_server.runtime.cpu_quota import threads_in_quota
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.forward import FloatType
from archroute_server.runtime.providers import Provider


def load_graph(
    graph: Path, provider: Provider, threads: int, options: Mapping[str, str] = MappingProxyType({})
) -> ort.InferenceSession:
    """Load `graph` on `provider`, with `threads` threads.

    0 is one for each physical core, or as many as the container's CPU quota pays for if that is less.
    `options` are the provider's own, by ONNX Runtime's names.

    Raises `RuntimeLoadError` if ONNX Runtime refuses it, or would run it on another provider.
    """
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = threads or threads_in_quota()
    try:
        session = ort.InferenceSession(
            graph, session_options, providers=[(provider.onnxruntime_name, dict(options))]
        )
    except Exception as error:
        raise RuntimeLoadError(f"ONNX Runtime cannot load {graph}: {error}") from error
    loaded = session.get_providers()
    if provider.onnxruntime_name not in loaded:
        # ONNX Runtime falls back to the CPU with no more than a line on stderr.
        raise RuntimeLoadError(
            f"the {provider.name} provider did not load (ONNX Runtime has {', '.join(loaded)} instead): "
            f"{provider.install}, or use --provider cpu"
        )
    return session


def graph_float_type(session: ort.InferenceSession) -> FloatType:
    """Return the float type of a graph's attention bias and KV cache."""
    types = {node.name: node.type for node in session.get_inputs()}
    return np.dtype(np.float16) if types["attention_bias"] == "tensor(float16)" else np.dtype(np.float32)
