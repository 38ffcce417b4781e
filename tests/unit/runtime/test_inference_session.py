"""What ONNX Runtime is asked for, in the place of the providers that this machine cannot have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from archroute_server.runtime import inference_session
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.inference_session import load_graph
from archroute_server.runtime.providers import choose_provider

GRAPH = Path("model.onnx")
CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})


class Asked:
    """Takes the place of `InferenceSession`."""

    def __init__(self, loaded: list[str] | Exception) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.options: dict[str, Any] = {}
        self._loaded = loaded

    def __call__(self, *arguments: Any, **options: Any) -> "Asked":
        self.calls.append(arguments)
        self.options = options
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self

    def get_providers(self) -> list[str]:
        assert not isinstance(self._loaded, Exception)
        return self._loaded


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    monkeypatch.setattr(inference_session, "make_ready", lambda provider: None)

    def ask(loaded: list[str] | Exception) -> Asked:
        asked = Asked(loaded)
        monkeypatch.setattr(ort, "InferenceSession", asked)
        return asked

    return ask


def test_tensorrt_leaves_the_rest_to_cuda(asking: Callable[..., Asked]) -> None:
    asked = asking(["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"])
    load_graph(GRAPH, choose_provider("tensorrt", "fp16"), 1, {"trt_engine_cache_enable": "1"})
    ((graph, _, providers),) = asked.calls
    assert graph == GRAPH
    assert providers == [("TensorrtExecutionProvider", {"trt_engine_cache_enable": "1"}), CUDA]
    # Else it would print the error, and try again with the CPU.
    assert asked.options == {"enable_fallback": 0}


def test_the_options_of_the_table_and_those_of_the_caller(asking: Callable[..., Asked]) -> None:
    asked = asking(["CUDAExecutionProvider", "CPUExecutionProvider"])
    provider = choose_provider("cuda", "fp16")
    load_graph(GRAPH, provider, 1)
    load_graph(GRAPH, provider, 1, {"enable_cuda_graph": "1", "use_tf32": "1"})
    assert [providers for _, _, providers in asked.calls] == [
        [CUDA],
        [("CUDAExecutionProvider", {"use_tf32": "1", "enable_cuda_graph": "1"})],
    ]


def test_a_provider_that_onnxruntime_left_out(asking: Callable[..., Asked]) -> None:
    asking(["CPUExecutionProvider"])
    with pytest.raises(RuntimeLoadError, match="did not load, and ONNX Runtime has CPUExecutionProvider"):
        load_graph(GRAPH, choose_provider("cuda", "fp16"), 1)


def test_what_onnxruntime_says_of_a_graph(asking: Callable[..., Asked]) -> None:
    asking(RuntimeError("CUDA failure 2: out of memory\n\n"))
    with pytest.raises(
        RuntimeLoadError, match=r"^ONNX Runtime cannot load model.onnx on the cuda .*: CUDA .* memory$"
    ):
        load_graph(GRAPH, choose_provider("cuda", "fp16"), 1)
