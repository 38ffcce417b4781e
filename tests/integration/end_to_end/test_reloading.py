"""SIGHUP to a server process: another bundle takes over, or is refused and changes nothing."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from archroute import Router
from support.manifests import turn
from support.server_process import PATIENCE, ServerProcess, serving


@pytest.fixture
def link(bundle: Path, tmp_path: Path) -> Path:
    """A link to a copy of the bundle, beside others: the same again, and one with answers of its own."""
    for name in ("one", "two", "wrong"):
        shutil.copytree(bundle, tmp_path / name)
    edit(tmp_path / "two", created_by="another archroute")
    manifest = json.loads((tmp_path / "wrong" / "manifest.json").read_text())
    manifest["self_test"]["prompts"][2]["branches"][0][0] -= 1 + manifest["self_test"]["bound"]
    edit(tmp_path / "wrong", **manifest)
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "one")
    return link


def edit(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def server(link: Path, policies: Path) -> Iterator[ServerProcess]:
    with serving("--model", link, "--policies", policies, "--listen", "127.0.0.1:0") as server:
        server.wait_for("ready")
        yield server
        assert server.stop() == 0


def test_another_bundle_takes_over(server: ServerProcess, link: Path) -> None:
    passed = server.wait_for("self-test passed")
    assert passed["prompts"] == 6
    assert passed["largest_difference"] <= passed["allowed"]
    with Router(server.address, timeout=60) as router:
        before = router.route("Hello")
        turn(link, "two")
        server.process.send_signal(signal.SIGHUP)
        reloaded = server.wait_for("reloaded the bundle")
        after = router.route("Hello")
    # Another bundle by its digest, though its weights are the same.
    assert before.revisions.bundle_digest == reloaded["before"] == passed["bundle"]
    assert after.revisions.bundle_digest == reloaded["bundle"] != before.revisions.bundle_digest
    assert after.probability == pytest.approx(before.probability)
    # What the first engine knew is not the second one's.
    assert not after.from_decision_cache
    assert len(server.events("self-test passed")) == 2


def test_a_bundle_with_other_answers_is_refused(server: ServerProcess, link: Path) -> None:
    turn(link, "wrong")
    server.process.send_signal(signal.SIGHUP)
    refused = server.wait_for("the bundle was not reloaded")
    assert "to prompt 3 of 6 it should say" in refused["reason"]
    with Router(server.address, timeout=60) as router:
        assert router.route("Hello").revisions.bundle_digest == server.wait_for("ready")["bundle"]
    turn(link, "one")
    server.process.send_signal(signal.SIGHUP)
    assert server.wait_for("the bundle is unchanged")


def test_a_server_does_not_start_with_other_answers_unless_told(link: Path) -> None:
    wrong = link.with_name("wrong")
    with serving("--model", wrong, "--listen", "127.0.0.1:0") as server:
        assert server.process.wait(PATIENCE) == 1
        assert not server.events("ready")
    assert (
        "archroute: the model does not answer as it did when it was exported: to prompt 3 of 6" in server.log
    )
    assert "Traceback" not in server.log
    with serving("--model", wrong, "--listen", "127.0.0.1:0", "--no-self-test") as server:
        server.wait_for("ready")
        assert server.stop() == 0
