"""kill -9 while policy sets are being written: the store always opens with the last acknowledged set."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from archroute_server.catalogue.durable_file import PREFIX
from archroute_server.catalogue.store import PolicySetStore
from support.policy_files import policy_set
from support.soak import pick

KILLS = pick(short=5, long=200)
SEED = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 10 * KILLS)]

# Writes sets numbered from argv[2] on, and says so of each once the store has acknowledged it. Every third
# write removes another set.
WRITER = """
import sys
from pathlib import Path
from archroute_server.catalogue.store import PolicySetStore
from support.policy_files import policy_set
from support.soak import pick

store = PolicySetStore(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    store.write(policy_set("the set", number))
    if number % 3 == 0:
        store.write(policy_set("another", number))
        store.remove("another")
    print(number, flush=True)
    number += 1
"""


def acknowledged_before_the_kill(folder: Path, first: int, answers: int, seconds: float) -> int:
    """Let a process write until so many answers came and so long passed; kill it; return its last answer."""
    paths = os.pathsep.join(path for path in sys.path if path)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, str(first)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert writer.stdout is not None
    with writer.stdout as output:
        lines = [output.readline() for _ in range(answers)]
        # Not to wait for anything: the later, the elsewhere in a write it dies.
        try:
            writer.wait(seconds)
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
        lines += output.readlines()
    assert writer.wait() == -signal.SIGKILL, "it must not end by itself"
    # The last line may have been cut by the kill.
    return max(int(line) for line in lines if line.endswith("\n"))


def test_the_store_opens_with_the_last_acknowledged_set(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    number, partial, unanswered = 0, 0, 0
    for _ in range(KILLS):
        last = acknowledged_before_the_kill(
            tmp_path, number, chance.randint(1, 12), seconds=chance.uniform(0, 0.02)
        )
        partial += any(path.name.startswith(PREFIX) for path in tmp_path.iterdir())
        with closing(PolicySetStore(tmp_path)) as store:
            held = store.sets["the set"]
            # The one behind it was being written, and may be there without having been acknowledged.
            allowed = {policy_set("the set", last), policy_set("the set", last + 1)}
            assert held in allowed
            unanswered += held == policy_set("the set", last + 1)
            assert store.sets.keys() <= {"the set", "another"}
        assert not any(path.name.startswith(PREFIX) for path in tmp_path.iterdir())
        number = last + 2
    record_property("kills, and sets written", f"{KILLS}, {number}")
    record_property("killed in the middle of a file", partial)
    record_property("killed between a write and its answer", unanswered)
