"""Loading a graph into ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime as ort

from archroute_server.runtime.diagnosis import make_ready
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.forward import FloatType
from archroute_server.runtime.machine.cpu_quota import threads_in_quota
from archroute_server.runtime.plugin import plugin_devices
from archroute_server.runtime.providers import Provider


def load_graph(
    graph: Path, provider: Provider, threads: int, options: Mapping[str, str] = MappingProxyType({})
) -> ort.InferenceSession:
    """Load `graph` on `provider`, with `threads` threads.

    0 is one for each physical core, or as many as the container's CPU quota pays for if that is less.
    `options` are the provider's own, as ONNX Runtime calls them, beside those of `Provider.options`.

    Raises `RuntimeLoadError` if the provider lacks something, and if ONNX Runtime refuses the graph or would
    run it on another provider.
    """
    make_ready(provider)
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = threads or threads_in_quota()
    provider_options = {**provider.options, **options}
    built_in = None
    if provider.plugin is None:
        built_in = [(provider.onnxruntime_name, provider_options), *provider.beside.items()]
    else:
        # The first: one session runs on one device.
        session_options.add_provider_for_devices(
            plugin_devices(provider, provider.plugin)[:1], provider_options
        )
    try:
        # By default ONNX Runtime prints an error and tries the CPU.
        session = ort.InferenceSession(graph, session_options, built_in, enable_fallback=0)
    except Exception as error:
        raise RuntimeLoadError(
            f"ONNX Runtime cannot load {graph} on the {provider.name} provider: {str(error).strip()}"
        ) from error
    loaded = session.get_providers()
    if provider.onnxruntime_name not in loaded:
        # A built-in provider that cannot be made is left out, with no more than a line on stderr.
        raise RuntimeLoadError(
            f"the {provider.name} provider did not load, and ONNX Runtime has {', '.join(loaded)} instead: "
            "what it says of it is on standard error. Or use --provider cpu"
        )
    return session


def graph_float_type(session: ort.InferenceSession) -> FloatType:
    """Return the float type of a graph's attention bias and KV cache."""
    types = {node.name: node.type for node in session.get_inputs()}
    return np.dtype(np.float16) if types["attention_bias"] == "tensor(float16)" else np.dtype(np.float32)
