"""`archroute calibrate`, and that a server then answers as it says."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from archroute import Router
from support.server_process import run_archroute, serving


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that the test may change."""
    return Path(shutil.copytree(bundle, tmp_path / "own"))


def calibrate(*arguments: str | Path) -> str:
    finished = run_archroute("calibrate", *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return document


def figures(examples: Path, path: Path, *arguments: str | Path) -> dict[str, Any]:
    finished = run_archroute("eval", examples, *arguments, "--json", path)
    assert finished.returncode == 0, finished.stderr
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_a_calibrated_bundle_answers_the_same_with_the_probabilities_that_were_fitted(
    own_bundle: Path, examples: Path, tmp_path: Path
) -> None:
    before = figures(examples, tmp_path / "out.json", "--model", own_bundle)
    said = calibrate(examples, "--model", own_bundle)
    calibration = manifest(own_bundle)["calibration"]
    assert calibration["examples"] == 24
    assert calibration["fitted_on"] == f"sha256:{hashlib.sha256(examples.read_bytes()).hexdigest()}"
    assert calibration["loss_after"] < calibration["loss_before"]
    assert calibration["error_before"] == pytest.approx(before["expected_calibration_error"])
    assert f"temperature                 {calibration['temperature']:.4g}, fitted on 24 examples" in said

    with serving("--model", own_bundle, "--listen", "127.0.0.1:0") as server:
        server.wait_for("ready")
        after = figures(examples, tmp_path / "out.json", "--server", server.address)
        with Router(server.address, timeout=60) as router:
            decision = router.route("fix it", policies=[{"name": "a", "description": "b"}])
    assert decision.revisions.temperature == calibration["temperature"]
    assert after["decided_by"][0]["temperature"] == calibration["temperature"]
    assert after["expected_calibration_error"] == pytest.approx(calibration["error_after"])
    assert after["turn_accuracy"] == before["turn_accuracy"]
    assert after["confusions"] == before["confusions"]
    # Another identity: nothing that is kept for one can be taken for the other.
    assert after["decided_by"][0]["bundle_digest"] != before["decided_by"][0]["bundle_digest"]


def test_calibrating_again_starts_from_the_model_itself(own_bundle: Path, examples: Path) -> None:
    calibrate(examples, "--model", own_bundle)
    first = (own_bundle / "manifest.json").read_bytes()
    said = calibrate(examples, "--model", own_bundle)
    assert "replaces" in said
    assert (own_bundle / "manifest.json").read_bytes() == first


def test_a_dry_run_writes_nothing(own_bundle: Path, examples: Path) -> None:
    before = (own_bundle / "manifest.json").read_bytes()
    said = calibrate(examples, "--model", own_bundle, "--dry-run")
    assert "The bundle is as it was (--dry-run)." in said
    assert (own_bundle / "manifest.json").read_bytes() == before


def test_the_calibration_is_written_to_a_file_too(own_bundle: Path, examples: Path, tmp_path: Path) -> None:
    before = (own_bundle / "manifest.json").read_bytes()
    calibrate(examples, "--model", own_bundle, "--dry-run", "--json", tmp_path / "calibration.json")
    assert (own_bundle / "manifest.json").read_bytes() == before
    calibrate(examples, "--model", own_bundle)
    copied = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    assert copied == manifest(own_bundle)["calibration"]


def test_several_files_are_one_set_of_examples(own_bundle: Path, examples: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_bytes(b"".join(examples.read_bytes().splitlines(keepends=True)[:6]))
    calibrate(examples, more, "--model", own_bundle)
    calibration = manifest(own_bundle)["calibration"]
    assert calibration["examples"] == 30
    both = examples.read_bytes() + more.read_bytes()
    assert calibration["fitted_on"] == f"sha256:{hashlib.sha256(both).hexdigest()}"
    # All 30 answers are enough for a precision that any router has, and then the minimum is 0.
    calibrate(examples, more, "--model", own_bundle, "--precision", "0")
    calibration = manifest(own_bundle)["calibration"]
    assert (calibration["min_probability"], calibration["coverage"]) == (0.0, 1.0)
