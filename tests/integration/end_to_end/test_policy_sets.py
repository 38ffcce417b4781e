"""Policy sets of a server that runs: edited in its files, changed by calls, and there after a kill -9."""

import signal
from pathlib import Path

import pytest

from archroute import AccessDeniedError, FailedPreconditionError, PolicySetChangedError, Router
from support.policy_files import policy_set, write_sets
from support.server_process import run_archroute, serving

LISTEN = ("--listen", "127.0.0.1:0")
POLICIES = [
    {"name": "code", "description": "Writing programs", "models": ["large"]},
    {"name": "talk", "description": "Greetings and jokes", "models": ["small"]},
]


def test_an_edit_is_followed_and_a_bad_one_is_not(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    write_sets(path, policy_set("mine", 1))
    with serving("--model", bundle, "--policies", path, *LISTEN) as server, Router(server.address) as router:
        server.wait_for("ready")
        write_sets(path, policy_set("mine", 2))
        applied = server.wait_for("policies files applied")
        assert applied["revisions"] == {"mine": policy_set("mine", 2).revision}
        decision = router.route("Hello", timeout=60)
        assert decision.revisions.policy_set_revision == policy_set("mine", 2).revision
        wrong = tmp_path / "wrong"
        wrong.write_text("policy_sets:\n  - name: mine\n    policies: [{name: other, description: all}]\n")
        wrong.rename(path)
        refused = server.wait_for("policies files refused")
        (problem,) = refused["problems"]
        assert problem.startswith(f"{path}:3:23: policy_sets[0].policies[0].name: 'other' is reserved")
        assert router.route("Hello", timeout=60).revisions == decision.revisions
        with pytest.raises(AccessDeniedError, match="--allow-admin"):
            router.put_policy_set("new", POLICIES, timeout=60)
        assert server.stop() == 0


def test_a_stored_set_outlasts_a_kill(bundle: Path, tmp_path: Path) -> None:
    arguments = ("--model", bundle, "--policy-store", tmp_path / "store", "--allow-admin", *LISTEN)
    with serving(*arguments) as server, Router(server.address, timeout=60) as router:
        server.wait_for("ready")
        stored = router.put_policy_set("mine", POLICIES, default_policy="talk", if_revision="")
        with pytest.raises(PolicySetChangedError) as caught:
            router.put_policy_set("mine", POLICIES[:1], if_revision="")
        assert caught.value.metadata == {"current_revision": stored.revision}
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with serving(*arguments) as server, Router(server.address, timeout=60) as router:
        assert server.wait_for("ready")["policy_sets"] == ["mine"]
        assert router.get_policy_set("mine") == stored
        decision = router.route("Hello", policy_set="mine")
        assert decision.revisions.policy_set_revision == stored.revision
        with pytest.raises(FailedPreconditionError, match="NO_DEFAULT_POLICY_SET"):
            router.route("Hello")
        second = run_archroute("serve", *arguments)
        assert second.returncode == 1
        assert "another server has it open" in second.stderr
        router.delete_policy_set("mine", if_revision=stored.revision)
        assert router.list_policy_sets() == ()
        assert server.stop() == 0


def test_the_command(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    write_sets(path, policy_set("mine", 1))
    with serving("--model", bundle, "--policy-store", tmp_path / "store", "--allow-admin", *LISTEN) as server:
        server.wait_for("ready")

        def policies(*arguments: str | Path) -> str:
            done = run_archroute("policies", *arguments, "--address", server.address)
            assert done.returncode == 0, done.stderr
            return done.stdout

        revision = policy_set("mine", 1).revision
        assert "mine: can be used, " in policies("validate", path)
        assert policies("put", path) == f"mine: stored, {revision}\n"
        assert policies("list") == f"mine  2 policies  store  {revision}\n"
        again = tmp_path / "again.yaml"
        again.write_text(policies("get", "mine"), encoding="utf-8")
        assert policies("put", again, "--if-revision", revision) == f"mine: stored, {revision}\n"
        assert policies("delete", "mine") == "mine: deleted\n"
        path.write_text(
            "policy_sets:\n  - name: mine\n    policies:\n      - {name: other, description: a}\n"
        )
        wrong = run_archroute("policies", "validate", path, "--address", server.address)
        assert wrong.returncode == 1
        assert wrong.stdout.startswith(f"{path}:4:16: error: policies[0].name 'other' is reserved")
        assert wrong.stdout.endswith("mine: 1 error\n")
        assert server.stop() == 0
