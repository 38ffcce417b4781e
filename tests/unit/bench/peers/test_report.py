import json
from pathlib import Path
from typing import Any

import pytest

from peers import curves, roofline, starting
from peers.measuring import MAIN_CASE
from peers.peer import ENGINE, PEERS, SERVER
from peers.report import write_report
from peers.results import Results
from peers.shapes import SHAPES
from peers.tables import markdown_table
from support.bench_results import measured

FIFTY = MAIN_CASE.replace("10", "50")
MACHINE = {"processor": "A processor, 2 cores", "date": "2030-01-01 00:00 UTC"}


def write_peer(results: Results, name: str, seconds: float, **more: Any) -> None:
    policies = ["a", "b", "c", "d"]
    peer = {
        "machine": MACHINE,
        "versions": {name: "1.0"},
        "threads": 2,
        "cases": {
            MAIN_CASE: measured(seconds, policies),
            FIFTY: measured(1.1 * seconds, policies),
        },
        "bursts": {"1": {"decisions": 10, "seconds": 2.0}},
        "peak_bytes": 300 * 2**20,
        "finished": True,
    }
    results.write(name, peer | more)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(SHAPES["135m"], tmp_path / "build")
    write_peer(results, ENGINE, 0.010)
    served = measured(0.012, ["a", "b"], elsewhere=[0.0115, 0.0115])
    write_peer(results, SERVER, 0.012, cases={MAIN_CASE: served})
    write_peer(results, "llama.cpp-q8_0", 0.100)
    write_peer(results, "transformers-fp32", 0.080)
    results.write("openvino-genai", {"skipped": "the module openvino_genai is not installed"})
    results.write("optimum", {"failed": "optimum: its process ended with status -9"})
    return results


def render(results: Results, output: Path) -> str:
    path = write_report(results.folder.parent, output)
    assert path == output / "RESULTS.md"
    return path.read_text(encoding="utf-8")


def row(text: str, title: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_a_row_for_each_peer(results: Results, tmp_path: Path) -> None:
    text = render(results, tmp_path)
    assert row(text, "archroute int8, in process") == [
        "archroute int8, in process",
        *("10.0", "10.0", "10.0", "4"),  # ms
        *("5.0", "", ""),  # per second: only one caller was measured
        *("300", "0.12", "100%"),  # of 80 ms
    ]
    assert row(text, "llama.cpp Q8_0")[-2:] == ["1.25", "100%"]


def test_the_machine_and_the_versions_are_named(results: Results, tmp_path: Path) -> None:
    text = render(results, tmp_path)
    assert "- Processor: A processor, 2 cores" in text
    assert "- Date: 2030-01-01 00:00 UTC" in text
    assert "- Threads: 2" in text
    assert f"{ENGINE} 1.0" in text


def test_what_was_not_measured_is_named(results: Results, tmp_path: Path) -> None:
    text = render(results, tmp_path)
    assert "- Skipped: OpenVINO GenAI int8: the module openvino_genai is not installed" in text
    assert "- Failed: optimum: its process ended with status -9" in text


def test_archroute_is_held_to_its_bars(results: Results, tmp_path: Path) -> None:
    text = render(results, tmp_path)
    assert "p50 is 0.12 x that of the best peer, transformers fp32. To reach: at most 0.25." in text
    assert "50 policies cost 1.10 x what 10 do" in text
    assert "gRPC adds 1.99 ms to p50" in text
    assert "outside the server is 0.51 ms" in text


def test_the_share_of_the_roofline_is_that_of_the_products(results: Results, tmp_path: Path) -> None:
    found = {
        "machine": MACHINE,
        "new_tokens": 200,
        "linear_operations": 1e9,
        "attention_operations": 2e8,
        "ceilings": {"int8": 4e11, "fp32": 5e10},
    }
    results.write(roofline.NAME, found)
    text = render(results, tmp_path)
    assert "at 200 rows reach 400 billion operations a second in int8, and 50 in fp32" in text
    assert "100 billion operations of its products a second: 25% of the int8 ceiling, and 2.00 x" in text


def test_the_start_and_the_agreement_are_reported(results: Results, tmp_path: Path) -> None:
    start = {"first_answer_seconds": 2.54, "resident_bytes": 2**28, "peak_bytes": 2**29}
    results.write(starting.NAME, start)
    agreement = {
        "source": "test.jsonl",
        "conversations": 500,
        "agreement": 0.982,
        "sure_conversations": 200,
        "agreement_where_sure": 1.0,
        "mean_change_of_top_probability": 0.0123,
    }
    results.write("agreement", agreement)
    text = render(results, tmp_path)
    assert "first answer 2.5 s after its start. It held 0.25 GiB after some decisions, and 0.50 GiB" in text
    assert "98.2% of 500 conversations (test.jsonl), and in 100.0% of the 200 where" in text


def test_plots_are_drawn_and_shown(results: Results, tmp_path: Path) -> None:
    points = {
        f"{count} {kind}": measured(0.01, ["a"])
        for count in (50, 100)
        for kind in ("new tokens", "short policies")
    }
    results.write(curves.file_name(PEERS[ENGINE]), {"cases": points})
    text = render(results, tmp_path)
    for name in ("results-135m.png", "curves-135m.png"):
        assert f"({name})" in text
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_no_curves_are_shown_that_were_not_measured(results: Results, tmp_path: Path) -> None:
    assert "curves-135m.png" not in render(results, tmp_path)
    assert not (tmp_path / "curves-135m.png").exists()


def test_random_weights_choose_nothing_that_could_be_compared(results: Results, tmp_path: Path) -> None:
    random = Results(SHAPES["1.5b"], tmp_path / "build")
    write_peer(random, ENGINE, 0.010)
    _, text = render(random, tmp_path).split("## 1.5B")
    assert "same choice" not in text
    # There is no peer to compare with.
    assert "best peer," not in text


def test_before_anything_is_measured_nothing_is_claimed(tmp_path: Path) -> None:
    text = write_report(tmp_path / "build", tmp_path).read_text(encoding="utf-8")
    assert "Nothing has been measured yet." in text
    assert "|" not in text


def test_results_are_written_whole(tmp_path: Path) -> None:
    results = Results(SHAPES["135m"], tmp_path)
    assert results.read("new") == {}
    results.write("new", {"a": 1})
    results.write("new", {"a": 2})
    assert results.read("new") == {"a": 2}
    files = list((results.folder / "results").iterdir())
    assert [json.loads(path.read_text(encoding="utf-8")) for path in files] == [{"a": 2}]


def test_a_table_has_rows_as_long_as_its_header() -> None:
    assert list(markdown_table(["", "a|b"], [["x", "1"]])) == [r"|  | a\|b |", "| --- | ---: |", "| x | 1 |"]
    with pytest.raises(ValueError, match="1 cells under a header of 2"):
        list(markdown_table(["", "a"], [["x"]]))
