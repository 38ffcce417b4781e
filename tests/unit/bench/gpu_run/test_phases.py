"""Which phases there are."""

from dataclasses import replace

import pytest

from archroute_server.runtime import providers
from archroute_server.runtime.providers import PROVIDERS, choose_provider
from gpu_run import phases
from gpu_run.phases import ENGINE
from gpu_run.plan import DRY_RUN, FULL
from gpu_run.variants import forbid_graph_capture, named, variants

BY_NAME = {provider.name: provider for provider in PROVIDERS}


def engines(plan: phases.Plan) -> list[tuple[str, ...]]:
    return [phase.arguments for phase in phases.phases(plan) if phase.kind == ENGINE]


def test_every_provider_but_the_cpu_is_tried_on_a_gpu() -> None:
    assert {provider for provider, _ in engines(FULL)} == set(BY_NAME) - {"cpu"}


def test_engines_are_built_before_the_provider_is_tried() -> None:
    names = [phase.name for phase in phases.phases(FULL)]
    assert names.index("build-tensorrt") < names.index("engine-tensorrt-packed")
    assert "build-cuda" not in names


def test_a_dry_run_tries_the_cpu_first() -> None:
    assert engines(DRY_RUN)[0] == ("cpu", "packed")


def test_each_phase_has_a_result_of_its_own() -> None:
    names = [phase.name for phase in phases.phases(FULL)]
    assert len(set(names)) == len(names)


def test_graph_capture_is_compared_where_there_is_any() -> None:
    without = [variant.name for variant in variants(replace(BY_NAME["cuda"], graph_capture=False))]
    captured = [variant.name for variant in variants(replace(BY_NAME["cuda"], graph_capture=True))]
    assert without == ["packed", "one by one"]
    assert captured == ["packed", "without graph capture", "one by one"]


def test_without_graph_capture_the_table_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    capturing = replace(BY_NAME["cpu"], graph_capture=True)
    monkeypatch.setattr(providers, "PROVIDERS", (capturing,))
    forbid_graph_capture()
    assert not choose_provider("cpu", "fp32").graph_capture
    assert not named("without graph capture").graph_capture
