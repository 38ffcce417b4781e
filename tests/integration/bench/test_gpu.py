"""The benchmark of a GPU, as a dry run on the CPU: the same phases with a tiny model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpu
from gpu_run.plan import DRY_RUN

pytestmark = [pytest.mark.slow, pytest.mark.oracle, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, gpu.__file__, "--dry-run", "--minutes", "9"]
    command += ["--build", str(folder / "build"), "--output", str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="module")
def found(output: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((output / "gpu-results.json").read_text(encoding="utf-8"))
    return whole


def test_every_phase_that_can_run_here_finished(found: dict[str, Any]) -> None:
    on_cpu = {
        name: phase
        for name, phase in found["phases"].items()
        if not name.startswith(("build-", "engine-cuda", "engine-tensorrt"))
    }
    assert {phase["ended"] for phase in on_cpu.values()} == {"finished"}, on_cpu


def test_a_provider_that_does_not_load_is_named_with_the_reason(found: dict[str, Any]) -> None:
    phase = found["phases"]["engine-cuda-packed"]
    assert phase["ended"] == "failed"
    assert "archroute[gpu]" in phase["reason"]


def test_the_engine_decides_as_torch_does(found: dict[str, Any]) -> None:
    parity = found["found"]["engine-cpu-packed"]["parity"]
    assert parity["prompts"] == parity["same_decision"] > 0
    assert parity["largest_difference_of_a_log_probability"] < 1e-3


def test_every_case_and_number_of_callers_is_measured(found: dict[str, Any]) -> None:
    cases = found["found"]["engine-cpu-packed"]["cases"]
    assert list(cases) == [case.name for case in DRY_RUN.cases()]
    for figures in cases.values():
        assert list(figures) == [str(callers) for callers in DRY_RUN.callers]
        for one in figures.values():
            assert 0 < one["p50"] <= one["p95"] <= one["p99"]
            assert one["decisions"] > 0


def test_a_decision_reads_as_many_new_tokens_as_its_case_says(found: dict[str, Any]) -> None:
    cases = found["found"]["engine-cpu-packed"]["cases"]
    for case in DRY_RUN.cases():
        # What a message shares with the one before by chance is cached too, and the row may be padded.
        assert cases[case.name]["1"]["tokens_in_a_pass"] == pytest.approx(case.new_tokens, abs=4)


def test_requests_share_passes_only_in_the_packed_variant(found: dict[str, Any]) -> None:
    most = str(max(DRY_RUN.callers))

    def shared(variant: str) -> list[float]:
        cases = found["found"][f"engine-cpu-{variant}"]["cases"]
        return [figures[most]["requests_in_a_pass"] for figures in cases.values()]

    assert max(shared("packed")) > 1
    assert set(shared("one-by-one")) == {1.0}


def test_transformers_is_measured_beside(found: dict[str, Any]) -> None:
    for variant in ("eager", "compiled"):
        cases = found["found"][f"peer-{variant}"]["cases"]
        assert list(cases) == [case.name for case in DRY_RUN.cases()]
        assert all(figures["answer"]["p50"] > 0 for figures in cases.values())


def test_the_report_says_that_it_is_of_a_dry_run(output: Path) -> None:
    report = (output / "GPU_RESULTS.md").read_text(encoding="utf-8")
    assert "**A dry run" in report
    assert "there is no CUDA device" in report
    assert (output / "gpu-results.png").stat().st_size > 0
