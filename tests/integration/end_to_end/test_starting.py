"""How a server starts, why it may not, and how it ends."""

import json
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from archroute import FailedPreconditionError, Router, UnavailableError
from support.server_process import clean_environment, run_archroute, serving

LISTEN = ("--listen", "127.0.0.1:0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(bundle: Path, policies: Path, number: signal.Signals) -> None:
    with serving("--model", bundle, "--policies", policies, *LISTEN) as server:
        ready = server.wait_for("ready")
        assert ready["policy_sets"] == ["awkward", "gateway"]
        with Router(server.address, timeout=60) as router:
            assert router.route("Hello").outcome
            assert server.stop(number) == 0
            with pytest.raises(UnavailableError):
                router.route("Hello")
    assert server.events("stopped")
    assert not server.events("internal error")


def test_the_settings_may_be_variables(bundle: Path, policies: Path) -> None:
    variables = {
        "ARCHROUTE_MODEL": str(bundle),
        "ARCHROUTE_POLICIES": str(policies),
        "ARCHROUTE_LISTEN": "127.0.0.1:0",
    }
    with serving(environment=clean_environment(variables)) as server:
        assert server.wait_for("ready")["policy_sets"] == ["awkward", "gateway"]
        assert server.stop() == 0


def test_without_policies_a_request_brings_its_own(bundle: Path) -> None:
    with serving("--model", bundle, *LISTEN) as server, Router(server.address, timeout=60) as router:
        server.wait_for("ready")
        assert router.list_policy_sets() == ()
        with pytest.raises(FailedPreconditionError, match="NO_DEFAULT_POLICY_SET"):
            router.route("Hello")
        assert router.route("Hello", policies=[{"name": "a", "description": "Anything"}]).outcome
        assert server.stop() == 0


def test_a_taken_port_is_not_shared(bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run_archroute("serve", "--model", bundle, "--listen", f"127.0.0.1:{port}")
    assert refused.returncode == 1
    assert f"127.0.0.1:{port}: another process does already" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_two_servers_on_one_port(bundle: Path) -> None:
    with serving("--model", bundle, *LISTEN) as server:
        server.wait_for("ready")
        refused = run_archroute("serve", "--model", bundle, "--listen", server.address)
        assert refused.returncode == 1
        assert "another process does already" in refused.stderr
        assert server.stop() == 0


def remove_weights(bundle: Path) -> None:
    (bundle / "model.onnx.data").unlink()


def remove_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


def cut_weights(bundle: Path) -> None:
    path = bundle / "model.onnx.data"
    path.write_bytes(path.read_bytes()[:-1])


def alter_weights(bundle: Path) -> None:
    path = bundle / "model.onnx.data"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def alter_manifest(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8")[:-2], encoding="utf-8")


def change_schema(bundle: Path) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"schema_version": 99}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove_weights, ["model.onnx.data", "missing"]),
        (remove_manifest, ["manifest.json", "archroute export"]),
        (cut_weights, ["model.onnx.data", "bytes"]),
        (alter_weights, ["model.onnx.data", "altered"]),
        (alter_manifest, ["manifest.json"]),
        (change_schema, ["manifest.json", "99"]),
    ],
)
def test_a_damaged_bundle(
    bundle: Path, tmp_path: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damaged = tmp_path / "bundle"
    shutil.copytree(bundle, damaged)
    damage(damaged)
    refused = run_archroute("serve", "--model", damaged, *LISTEN)
    assert refused.returncode == 1
    *_, last = refused.stderr.splitlines()
    assert last.startswith("archroute: ")
    for word in words:
        assert word in last
    assert "Traceback" not in refused.stderr


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    refused = run_archroute("serve", "--model", tmp_path / "absent", *LISTEN)
    assert refused.returncode == 1
    assert f"{tmp_path / 'absent'} is not a bundle" in refused.stderr


def test_a_policies_file_with_a_mistake(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(
        "policy_sets:\n  - name: a\n    policies:\n      - {name: other, description: Anything}\n",
        encoding="utf-8",
    )
    refused = run_archroute("serve", "--model", bundle, "--policies", path, *LISTEN)
    assert refused.returncode == 1
    assert f"{path}:4:16" in refused.stderr
    assert "reserved" in refused.stderr


@pytest.mark.parametrize("arguments", [("--threads", "two"), ("--listen", "50051"), ("--provider", "gpu")])
def test_a_setting_that_cannot_be(arguments: tuple[str, str]) -> None:
    refused = run_archroute("serve", *arguments)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"archroute: {arguments[0]} '{arguments[1]}' ")
