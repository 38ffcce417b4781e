"""An ONNX Runtime session on the CPU that does with bindings what CUDA graphs do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import onnxruntime as ort

from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.inference_session import load_graph
from archroute_server.runtime.providers import Provider


@dataclass
class CapturingSession:
    """Captures the binding of the first run with a `gpu_graph_id`, and replays it whatever is bound later.

    So does ONNX Runtime with CUDA graphs: a replay reads and writes the addresses of the capture. -1 captures
    nothing. `captured` has the binding of each id, and `runs` the ids of all runs.
    """

    session: ort.InferenceSession
    fails: bool = False
    captured: dict[str, ort.IOBinding] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions) -> None:
        graph_id = options.get_run_config_entry("gpu_graph_id")
        self.runs.append(graph_id)
        if graph_id != "-1":
            if self.fails:
                raise RuntimeError("operation not permitted when stream is capturing")
            binding = self.captured.setdefault(graph_id, binding)
        self.session.run_with_iobinding(binding, options)


def capturing_loader(
    sessions: list[CapturingSession], *, refuses: bool = False, fails: bool = False
) -> Callable[..., Any]:
    """Return a `load_graph` that adds the capturing sessions that it makes to `sessions`.

    With `refuses` it does not load the first, as ONNX Runtime does if the graph is to be captured and a node
    of it would not run on the provider; with `fails`, every capture fails.
    """

    loads = count()

    def load(graph: Path, provider: Provider, threads: int, options: Mapping[str, str]) -> Any:
        if next(loads) == 0 and refuses:
            raise RuntimeLoadError("all compute graph nodes have not been partitioned to the provider")
        sessions.append(CapturingSession(load_graph(graph, provider, threads, options), fails))
        return sessions[-1]

    return load
