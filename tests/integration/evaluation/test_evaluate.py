"""`archroute eval`, from the command line to the files, in this process and against a server."""

import json
from pathlib import Path
from typing import Any

from support.server_process import run_archroute, serving


def evaluate(*arguments: str | Path, status: int = 0) -> str:
    finished = run_archroute("eval", *arguments)
    assert finished.returncode == status, finished.stderr
    return finished.stdout


def figures(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_a_bundle_is_evaluated_whole(bundle: Path, examples: Path, tmp_path: Path, secret: str) -> None:
    written = {name: tmp_path / f"out.{name}" for name in ("json", "html", "errors")}
    outputs = [part for name, path in written.items() for part in (f"--{name}", path)]
    said = evaluate(examples, "--model", bundle, "--flips", "2", *outputs)

    found = figures(written["json"])
    assert (found["examples"], found["answered"], found["failures"]) == (24, 24, [])
    assert found["conversation_accuracy"]["total"] == 12
    assert found["brier_score"]["count"] == 24
    assert found["order_flips"]["examples"]["total"] == 24
    assert found["order_flips"]["answers"]["total"] == 48
    assert found["rewording_flips"]["examples"]["total"] == 12
    assert found["rewording_flips"]["answers"]["total"] == 24
    assert set(found["accuracy_by"]) == {"policies", "turns of the user", "language", "source"}
    assert found["decided_by"][0]["temperature"] is None

    wrong = [json.loads(line) for line in written["errors"].read_text(encoding="utf-8").splitlines()]
    assert len(wrong) == 24 - found["turn_accuracy"]["hits"]
    assert all(entry["expected"] != entry["got"] for entry in wrong)
    assert "turn accuracy" in said
    page = written["html"].read_text(encoding="utf-8")
    assert page.count("<svg") == 7
    for output in (said, page, *(path.read_text(encoding="utf-8") for path in written.values())):
        assert secret not in output


def test_a_server_gives_the_same_figures(bundle: Path, examples: Path, tmp_path: Path) -> None:
    arguments = ("--flips", "1", "--json", tmp_path / "out.json")
    evaluate(examples, "--model", bundle, *arguments)
    here = figures(tmp_path / "out.json")
    with serving("--model", bundle, "--listen", "127.0.0.1:0") as server:
        server.wait_for("ready")
        evaluate(examples, "--server", server.address, *arguments)
    there = figures(tmp_path / "out.json")
    assert there.pop("router") == server.address
    assert here.pop("router") == str(bundle)
    assert there == here


def test_requests_that_a_server_refuses_are_counted(
    bundle: Path, lines: list[dict[str, Any]], write_lines: Any, tmp_path: Path
) -> None:
    lines[3]["messages"][-1]["content"] = "long " * 1200
    examples = write_lines(lines)
    with serving("--model", bundle, "--listen", "127.0.0.1:0", "--max-message-bytes", "4096") as server:
        server.wait_for("ready")
        said = evaluate(examples, "--server", server.address, "--json", tmp_path / "out.json")
        gate = run_archroute("eval", examples, "--server", server.address, "--min-accuracy", "1")
    found = figures(tmp_path / "out.json")
    assert (found["examples"], found["answered"]) == (24, 23)
    failure = {"status": "RESOURCE_EXHAUSTED", "reason": "MESSAGE_TOO_LARGE", "lines": [4]}
    assert found["failures"] == [failure]
    # The conversation that has this turn is left out.
    assert found["conversation_accuracy"]["total"] == 11
    assert "1 failed with RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE): line 4" in said
    assert gate.returncode == 1
    assert "of 24 examples were answered right, fewer than --min-accuracy 1" in gate.stderr


def test_what_cannot_be_decided_is_counted_in_process_too(
    bundle: Path, lines: list[dict[str, Any]], write_lines: Any, tmp_path: Path
) -> None:
    # Policies are never cut.
    lines[0]["policies"][0]["description"] = "long " * 800
    arguments = ("--max-prompt-tokens", "2000", "--json", tmp_path / "out.json")
    evaluate(write_lines(lines), "--model", bundle, *arguments)
    failure = {"status": "INVALID_ARGUMENT", "reason": "INVALID_REQUEST", "lines": [1]}
    assert figures(tmp_path / "out.json")["failures"] == [failure]


def test_text_is_shown_where_it_is_asked_for(
    bundle: Path, examples: Path, tmp_path: Path, secret: str
) -> None:
    page, errors = tmp_path / "out.html", tmp_path / "errors.jsonl"
    evaluate(examples, "--model", bundle, "--html", page, "--errors", errors, "--show-text")
    assert secret in page.read_text(encoding="utf-8")
    assert secret in errors.read_text(encoding="utf-8")


def test_the_gate_opens_for_what_is_good_enough(bundle: Path, examples: Path) -> None:
    evaluate(examples, "--model", bundle, "--min-accuracy", "0")
