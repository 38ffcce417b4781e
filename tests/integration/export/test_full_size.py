"""A checkpoint of Arch-Router's true size: exported within 8 GiB of memory, loaded, and asked once."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from archroute_server.bundle.bundle import open_bundle
from support.full_size_checkpoint import write_full_size_checkpoint

# Most of it is the export; the limit leaves room for a machine that is busy with something else.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GIB = 2**30
NAMES = ["code_generation", "code_review", "travel"]

# Loads the bundle as the server does, decides one conversation, and says what came of it.
ROUTE = f"""
import asyncio, json, sys
from pathlib import Path
from archroute_server.engine.loading import load_engine
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet

async def main():
    engine = load_engine(Path(sys.argv[1]), provider="cpu", threads=0, max_prompt_tokens=2048)
    policies = PolicySet("full-size", tuple(Policy(name, name.replace("_", " ")) for name in {NAMES!r}))
    answer = await engine.decide(policies, [Message(Role.USER, "please fix this error in my program")])
    await engine.close(grace=0)
    ranking = [[ranked.policy, ranked.probability] for ranked in answer.decision.ranking]
    print(json.dumps({{"ranking": ranking, "passes": answer.tokens.forward_passes}}))

asyncio.run(main())
"""


@dataclass(frozen=True)
class Finished:
    """What a process wrote, and the most memory that it held at any time, in bytes."""

    output: str
    peak: int


def run(command: Sequence[str]) -> Finished:
    """Run a command to its end; what it writes to stderr goes to the test's own."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        # Of this process alone, where `getrusage` would give the largest of all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    return Finished(output, usage.ru_maxrss * 1024)  # kibibytes on Linux


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("full-size")
    yield folder
    # pytest keeps the folders of the last runs, and these are gigabytes.
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory as Linux counts it")
def test_it_is_exported_in_8_gib_and_routes(folder: Path) -> None:
    parameters = write_full_size_checkpoint(folder / "checkpoint")
    assert parameters == 1_543_714_304  # of Qwen2.5-1.5B
    bundle_folder = folder / "bundle"
    exported = run(
        [
            sys.executable,
            "-m",
            "archroute",
            "export",
            str(folder / "checkpoint"),
            "--output",
            str(bundle_folder),
        ]
    )
    assert exported.peak < 8 * GIB
    bundle = open_bundle(bundle_folder)
    assert bundle.manifest.precision == "int8"
    assert bundle.manifest.model.layers == 28
    # A byte for each weight, and little else.
    weights = bundle.manifest.files["model.onnx.data"].bytes
    assert parameters < weights < 1.02 * parameters
    routed = run([sys.executable, "-c", ROUTE, str(bundle_folder)])
    answer = json.loads(routed.output)
    assert sorted(name for name, _ in answer["ranking"]) == sorted([*NAMES, "other"])
    assert sum(probability for _, probability in answer["ranking"]) == pytest.approx(1)
    assert answer["passes"] == 1
    assert routed.peak < 4 * GIB
