"""The report of a run, whatever of it was measured."""

from pathlib import Path
from typing import Any

import pytest

from gpu_run.plan import FULL
from gpu_run.plots import draw
from gpu_run.report import tables, write_report

MAIN = FULL.main_case().name


def figures(p50: float, per_second: float) -> dict[str, Any]:
    return {
        "p50": p50,
        "p95": 2 * p50,
        "p99": 3 * p50,
        "decisions": 100,
        "per_second": per_second,
        "requests_in_a_pass": 2.5,
        "stages": {"tokenize": 0.4, "queue": 0.1, "inference": p50 - 1},
    }


def engine(p50: float, per_second: float) -> dict[str, Any]:
    return {
        "load_seconds": 9.0,
        "provider": "cuda",
        "self_test": {"difference": 0.01, "bound": 0.05},
        "parity": {"prompts": 12, "same_decision": 11, "largest_difference_of_a_log_probability": 0.02},
        "cases": {MAIN: {"1": figures(p50, 200), "128": figures(200, per_second)}},
        "device_work": {
            MAIN: {
                "kernels": 2.0,
                "launches": 1.0,
                "numbers": {"kernels": 300.0},
                "longest_kernels": {"gemm": 1.5},
            }
        },
    }


@pytest.fixture
def whole() -> dict[str, Any]:
    products = {"220": {"milliseconds": 1.25, "operations_a_second": 4e14}}
    return {
        "device": {"GPU": "a GPU", "processor": "a processor"},
        "phases": {"engine-tensorrt-packed": {"ended": "failed", "seconds": 3, "reason": "no libnvinfer"}},
        "found": {
            "ceilings": {
                "operations_a_row": 2e9,
                "weight_bytes": 2e9,
                "products": {"float16": products, "bfloat16": products},
                "copied_bytes_a_second": 2e12,
            },
            "engine-cuda-packed": engine(5.0, 600),
            "peer-eager": {"cases": {MAIN: {"answer": {"p50": 60.0, "p95": 61.0, "p99": 62.0}}}},
            "attention": {
                "layers": 28,
                "cached_tokens": 352,
                "operators": {
                    "Attention with bias": {"220": {"milliseconds": 0.5, "captured_milliseconds": 0.3}},
                    "PagedAttention": {"220": {"failed": "there is none"}},
                },
            },
        },
    }


def test_it_names_the_aims_and_the_share_of_the_ceiling(whole: dict[str, Any]) -> None:
    text = "\n".join(tables(FULL, whole))
    assert "p50 5.00 ms (cuda packed). Aim: at most 5 ms." in text
    assert "128 callers: 600 decisions a second (cuda packed). Aim: at least 500." in text
    assert "one decision reaches 25% of that ceiling" in text
    # 600 a second x 220 tokens x 2e9 operations, of 4e14.
    assert f"| {MAIN} | 25% / 66% |" in text


def test_transformers_stands_beside(whole: dict[str, Any]) -> None:
    lines = list(tables(FULL, whole))
    assert "|  | cuda packed | transformers bf16 eager |" in lines
    assert f"| {MAIN}, 1 caller | 5.00 / 10.00 / 15.00 | 60.00 / 61.00 / 62.00 |" in lines


def test_it_says_where_the_time_goes_and_which_attention_is_fastest(whole: dict[str, Any]) -> None:
    lines = list(tables(FULL, whole))
    assert f"| cuda packed, {MAIN} | 0.40 | 0.10 | 4.00 | 2.00 | 0.00 | 1.00 | 0.00 | 300 |" in lines
    assert "| Attention with bias |  | 0.500 / 0.300 |  |" in lines
    assert "- PagedAttention, 220 new tokens, failed: there is none" in lines


def test_what_was_not_measured_is_named(whole: dict[str, Any]) -> None:
    assert "- engine-tensorrt-packed: failed: no libnvinfer" in tables(FULL, whole)


def test_a_failed_self_test_stands_in_the_report(whole: dict[str, Any]) -> None:
    whole["found"]["engine-cuda-packed"]["self_test"] = {"failed": "the worst is prompt 3"}
    assert any("the worst is prompt 3" in line for line in tables(FULL, whole))


@pytest.mark.parametrize("left_out", ["ceilings", "engine-cuda-packed", "peer-eager", "attention"])
def test_a_part_can_be_missing(left_out: str, whole: dict[str, Any], tmp_path: Path) -> None:
    whole["found"][left_out] = {}
    write_report(FULL, whole, tmp_path / "report.md")
    draw(FULL, whole, tmp_path / "plot.png")
    assert "no libnvinfer" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "plot.png").is_file()


def test_a_phase_that_was_stopped_leaves_what_it_has(whole: dict[str, Any]) -> None:
    stopped = whole["found"]["engine-cuda-packed"]
    del stopped["device_work"]
    del stopped["cases"][MAIN]["128"]
    assert any("p50 5.00 ms" in line for line in tables(FULL, whole))


def test_nothing_at_all_is_a_report_too(whole: dict[str, Any], tmp_path: Path) -> None:
    whole["found"] = {}
    write_report(FULL, whole, tmp_path / "report.md")
    draw(FULL, whole, tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()
