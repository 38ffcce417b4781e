"""Runs README.md: each command and each example, in a copy of the project, against the server it starts.

What does not run as it stands is declared here, and a declaration that is no longer needed is an error.
"""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from archroute import Router
from archroute.v1 import router_pb2, router_pb2_grpc
from support.clone import INSTALLING, Clone
from support.fake_openai import fake_openai
from support.markdown import Block, code_blocks
from support.readme_tables import README
from support.server_process import ServerProcess, serving

pytestmark = [
    pytest.mark.readme,
    pytest.mark.slow,
    pytest.mark.embedded,
    pytest.mark.timeout(INSTALLING + 60),
]

BLOCKS = code_blocks(README)

GRPCURL = """\
grpcurl -plaintext -d '{
  "messages": [{"role": "ROLE_USER", "parts": [{"text": "Plan three days in Lisbon"}]}],
  "options": {"topK": 3}
}' localhost:50051 archroute.v1.RouterService/Route"""

ENCRYPTED = (
    ".venv/bin/archroute serve --listen 0.0.0.0:50051 --tls-certificate server.pem --tls-key server.key "
    "--access access.yaml"
)

# Commands that no test runs, and why.
NOT_RUN: Mapping[str, str] = {
    "make test": "it would run this test again",
    "pip install .": "it changes the environment that is active; test_package.py installs the wheel",
    "pip install '.[gpu]'": "it fetches gigabytes for a GPU, which there is none of where tests run",
    "make sources examples": "it fetches from GitHub; the tests of `fetch` have a server of their own",
    "make adapter": "it trains for an hour; the tests of `finetune` train a tiny model",
    ".venv-dev/bin/archroute export embedded --adapter build/adapter --output models/my-router": (
        "there is no adapter without the hour of training; the tests of `export` merge a tiny one"
    ),
    ENCRYPTED: "there is no certificate for it; the tests of the whole server make one, in test_access.py",
    "docker build --file deploy/docker/Dockerfile --tag archroute .": (
        "there is no Docker where tests run; test_docker.py checks the recipe"
    ),
    "kubectl apply -k deploy/kubernetes/base": (
        "there is no cluster where tests run; test_kubernetes.py renders and checks the base"
    ),
    **dict.fromkeys(
        [
            ".venv/bin/archroute policies put my-policies.yaml",
            ".venv/bin/archroute policies get my-set > my-policies.yaml",
            ".venv/bin/archroute policies delete my-set",
        ],
        "the server of this test has no store; end_to_end/test_policy_sets.py runs each of them",
    ),
    GRPCURL: "no package index has grpcurl; test_the_call_of_grpcurl makes the same call",
}
# Replaced before a block runs: the port may be taken, and the weights are gigabytes.
ADDRESS = "localhost:50051"
LOCAL_MODELS = "http://localhost:8000/v1"
ARCH_ROUTER = "katanemo/Arch-Router-1.5B"

SERVE = ("make serve", ".venv/bin/archroute serve")


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands(block: Block) -> Iterator[str]:
    """The commands of a block; one may go on over several lines."""
    waiting = ""
    for line in block.text.splitlines():
        waiting += line + "\n"
        try:
            shlex.split(waiting)
        except ValueError:  # a quotation is open
            continue
        if not line.endswith("\\"):
            yield waiting.strip()
            waiting = ""
    assert not waiting, f"README.md:{block.line}: the last command has no end"


COMMANDS = [(block, command) for block in of("sh") for command in commands(block)]
RUN = [(block, command) for block, command in COMMANDS if command not in NOT_RUN]


def following(block: Block, language: str) -> Block:
    """The block after this one."""
    found = BLOCKS[BLOCKS.index(block) + 1]
    assert found.language == language
    return found


def test_nothing_is_declared_that_is_not_there() -> None:
    assert NOT_RUN.keys() <= {command for _, command in COMMANDS}
    assert any(ARCH_ROUTER in command for _, command in COMMANDS)
    assert any(command == SERVE[0] for _, command in COMMANDS)


@pytest.mark.parametrize(("block", "command"), RUN, ids=lambda value: str(value)[:40])
def test_a_command(
    clone: Clone, served: ServerProcess, tiny_checkpoint: Path, block: Block, command: str
) -> None:
    if command == SERVE[0]:
        return  # `served` runs it
    if command.split()[0] in ("node", "npm") and not shutil.which(command.split()[0]):
        pytest.skip("there is no Node.js here")
    command = command.replace(ARCH_ROUTER, shlex.quote(str(tiny_checkpoint)))
    command = command.replace(ADDRESS, served.address)
    if command.startswith(SERVE):
        check_server(clone, command)
        return
    finished = clone.run("bash", "-c", command, ARCHROUTE_ADDRESS=served.address)
    assert finished.returncode == 0, finished.stderr
    if " --json" in command:
        check_shape(json.loads(finished.stdout), json.loads(following(block, "json").text))
    elif command.startswith(".venv/bin/archroute route"):
        check_report(finished.stdout, block)


def check_server(clone: Clone, command: str) -> None:
    """Start a server as the README says, on a free port, and stop it."""
    environment = {**clone.environment, "ARCHROUTE_LISTEN": "127.0.0.1:0"}
    with serving(command=shlex.split(command), cwd=clone.folder, environment=environment) as server:
        server.wait_for("ready")
        assert server.stop() == 0


def check_report(report: str, block: Block) -> None:
    """Compare with the transcript, if there is one: what is said and of what, whatever the numbers are."""
    text = BLOCKS[BLOCKS.index(block) + 1]
    if text.language != "text":
        assert "models" in report
        return
    assert words(report) == words(text.text)


def words(report: str) -> list[str]:
    """The words of a report, sorted, without the figures and digests that differ from machine to machine."""
    unmarked = re.sub(r"sha256:[0-9a-f]+|[0-9.]+|[█>]", "", report)
    return sorted(set(unmarked.split()))


def check_shape(found: Any, shown: Any) -> None:
    """Compare JSON documents: the same fields with values of the same kind."""
    if isinstance(shown, dict):
        assert list(found) == list(shown)
        for key in shown:
            check_shape(found[key], shown[key])
    elif isinstance(shown, list):
        assert len(found) == len(shown)
        for one, other in zip(found, shown, strict=True):
            check_shape(one, other)
    elif shown is not None and found is not None:
        assert type(found) is type(shown)


# They need an extra that the server's environment does not have, and a model to call.
CALLING = [block for block in of("python") if "archroute.openai" in block.text]


@pytest.mark.parametrize("block", CALLING, ids=str)
def test_an_example_that_calls_models(clone: Clone, served: ServerProcess, block: Block) -> None:
    with fake_openai() as provider:
        text = block.text.replace(ADDRESS, served.address).replace(LOCAL_MODELS, provider.url)
        client = str(clone.folder / "client")
        finished = clone.run(sys.executable, "-W", "error", "-c", text, PYTHONPATH=client)
    assert finished.returncode == 0, finished.stderr
    assert "no model answered" not in finished.stdout
    assert provider.asked()


@pytest.mark.parametrize("block", [block for block in of("python") if block not in CALLING], ids=str)
def test_a_python_example(clone: Clone, served: ServerProcess, block: Block) -> None:
    assert ADDRESS in block.text
    text = block.text.replace(ADDRESS, served.address)
    finished = clone.run(clone.folder / ".venv/bin/python", "-W", "error", "-c", text)
    assert finished.returncode == 0, finished.stderr
    assert "no decision" not in finished.stdout
    assert finished.stdout
    after = BLOCKS[BLOCKS.index(block) + 1]
    if after.language == "text":
        assert finished.stdout == after.text


def test_the_call_of_grpcurl(served: ServerProcess) -> None:
    name, plaintext, data, body, address, method = shlex.split(GRPCURL)
    assert (name, plaintext, data, address) == ("grpcurl", "-plaintext", "-d", ADDRESS)
    assert method == "archroute.v1.RouterService/Route"
    request = json_format.Parse(body, router_pb2.RouteRequest())
    with grpc.insecure_channel(served.address) as channel:
        answer = router_pb2_grpc.RouterServiceStub(channel).Route(request, timeout=60)
    assert answer.outcome != router_pb2.OUTCOME_UNSPECIFIED
    assert len(answer.ranking) == request.options.top_k


def test_the_log_line(served: ServerProcess) -> None:
    (shown,) = [json.loads(block.text) for block in of("json") if '"event"' in block.text]
    with Router(served.address, timeout=60) as router:
        router.route("Plan three days in Lisbon")
    found = served.wait_for("request", count=1)
    check_shape(found, shown)
