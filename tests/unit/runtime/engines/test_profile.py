"""One profile of TensorRT covers every bucket, and every input of the graph."""

from itertools import accumulate
from pathlib import Path

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.runtime.engines.options import tensorrt_engines, tensorrt_rtx_engines
from archroute_server.runtime.engines.profile import EngineProfile, input_shapes, profile_text
from archroute_server.runtime.providers import GPU_BUCKETS, PROVIDERS
from archroute_server.runtime.shape_buckets import Shape, ShapeBuckets
from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint

MODEL = ModelDimensions(
    family="qwen2",
    layers=2,
    hidden_size=64,
    attention_heads=4,
    key_value_heads=2,
    head_size=16,
    vocabulary_size=640,
    maximum_positions=1024,
)


def sizes(first: int) -> st.SearchStrategy[tuple[int, ...]]:
    steps = st.lists(st.integers(1, 500), min_size=1, max_size=5)
    return steps.map(lambda steps: tuple(8 * size for size in accumulate(steps, initial=first)))


every_buckets = st.builds(ShapeBuckets, cached=sizes(0), new=sizes(1), rows=sizes(1), candidates=sizes(1))


@given(every_buckets)
def test_every_bucket_is_within_the_profile(buckets: ShapeBuckets) -> None:
    bounds = EngineProfile.of(buckets).input_shapes(MODEL)
    for bucket in buckets:
        for name, sizes in input_shapes(bucket, MODEL).items():
            least, most = bounds["min"][name], bounds["max"][name]
            assert all(low <= size <= high for low, size, high in zip(least, sizes, most, strict=True))


@given(every_buckets)
def test_the_optimum_is_a_bucket_between_the_least_and_the_largest(buckets: ShapeBuckets) -> None:
    profile = EngineProfile.of(buckets)
    assert {profile.optimum, profile.maximum} <= set(buckets)
    bounds = profile.input_shapes(MODEL)
    assert bounds["min"].keys() == bounds["opt"].keys() == bounds["max"].keys()
    for name, least in bounds["min"].items():
        triples = zip(least, bounds["opt"][name], bounds["max"][name], strict=True)
        assert all(low <= best <= high for low, best, high in triples)


def test_the_gpus_profile_is_best_for_a_short_conversation_on_known_policies() -> None:
    assert EngineProfile.of(GPU_BUCKETS) == EngineProfile(
        Shape(0, 1, 1, 1), Shape(512, 256, 16, 32), Shape(5120, 2048, 2048, 2048)
    )


def test_the_bias_covers_the_past_as_it_is_padded() -> None:
    shapes = input_shapes(Shape(cached=512, new=256, rows=16, candidates=32), MODEL)
    assert shapes["attention_bias"] == (1, 1, 256, 768)
    assert shapes["past.1.value"] == (1, 2, 512, 16)


def test_a_past_of_nothing_has_no_tokens() -> None:
    assert input_shapes(Shape(0, 32, 16, 32), MODEL)["past.0.key"] == (1, 2, 0, 16)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelDimensions]:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(folder / "checkpoint")
    bundle = export_bundle(folder / "checkpoint", folder / "bundle")
    return bundle.graph, bundle.manifest.model


def test_the_inputs_that_vary_are_those_of_the_profile(graph: tuple[Path, ModelDimensions]) -> None:
    """All of them, or ONNX Runtime builds for each new shape; and no other, or it builds at each start."""
    path, model = graph
    shapes = input_shapes(Shape(cached=64, new=16, rows=4, candidates=8), model)
    values = {"N": 16, "P": 64, "P+N": 80, "M": 4, "C": 8}
    varying = {}
    for declared in ir.load(path).graph.inputs:
        assert declared.shape is not None
        assert declared.name is not None
        if any(isinstance(dimension, ir.SymbolicDim) for dimension in declared.shape):
            varying[declared.name] = tuple(
                values[str(dimension.value)] if isinstance(dimension, ir.SymbolicDim) else dimension
                for dimension in declared.shape
            )
    assert varying == shapes


def test_the_text_is_that_of_the_providers_options() -> None:
    assert profile_text({"input_ids": (1, 32), "select": (16,)}) == "input_ids:1x32,select:16"


def test_tensorrts_options() -> None:
    options = tensorrt_engines(GPU_BUCKETS).options(MODEL, Path("/cache"))
    assert options["trt_profile_min_shapes"].startswith(
        "input_ids:1x1,position_ids:1x1,attention_bias:1x1x1x1,select:1,candidates:1,past.0.key:1x2x0x16,"
    )
    assert "attention_bias:1x1x256x768," in options["trt_profile_opt_shapes"]
    assert "attention_bias:1x1x2048x7168," in options["trt_profile_max_shapes"]
    assert {name: text for name, text in options.items() if "profile" not in name} == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/cache",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/cache",
    }


def test_tensorrt_rtxs_options_differ_in_their_names() -> None:
    options = tensorrt_rtx_engines(GPU_BUCKETS).options(MODEL, Path("/cache"))
    tensorrt = tensorrt_engines(GPU_BUCKETS).options(MODEL, Path("/cache"))
    for bound in ("min", "opt", "max"):
        assert options[f"nv_profile_{bound}_shapes"] == tensorrt[f"trt_profile_{bound}_shapes"]
    assert options["nv_runtime_cache_path"] == "/cache"
    assert len(options) == 4


def test_engines_are_built_for_the_shapes_that_the_provider_runs_in() -> None:
    building = [provider for provider in PROVIDERS if provider.engines is not None]
    assert building
    for provider in building:
        assert provider.engines is not None
        assert provider.engines.buckets == provider.shape_buckets
        # Nobody who names no provider shall have to build anything first.
        assert not provider.automatic
