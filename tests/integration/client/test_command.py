"""`archroute route`, as a process, against a real socket."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc


def archroute(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from archroute.cli import main; sys.exit(main())", *arguments],
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        input="from standard input",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_a_decision_is_printed(server: Any, tmp_path: Path) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text("policy_sets: [{name: gateway, policies: [{name: code, description: Writing code}]}]")
    done = archroute("route", "-", "--policies", str(policies), "--json", ARCHROUTE_ADDRESS=server.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["policy"] == "code_generation"
    [request] = server.service.requests
    assert request.messages[0].parts[0].text == "from standard input"
    assert request.inline_policies.policies[0].name == "code"


def test_a_failure_is_one_line_without_a_traceback(server: Any) -> None:
    def answer(request: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "no policy set 'mine'")

    server.service.answer = answer
    done = archroute("route", "hi", "--policy-set", "mine", "--address", server.address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"archroute: the archroute server at {server.address} does not hold that policy set: "
        "no policy set 'mine'\n"
    )


def test_an_argument_that_is_not_unicode_is_refused(server: Any) -> None:
    done = archroute("route", os.fsdecode(b"caf\xe9"), "--address", server.address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("archroute: messages[0].content: is not valid Unicode")
    assert server.service.requests == []
