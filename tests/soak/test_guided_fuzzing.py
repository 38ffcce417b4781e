"""The same readers as in test_fuzzing.py, with inputs that atheris chooses by what code they reach."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fuzz_targets import TARGETS
from support.server_process import clean_environment
from support.soak import pick

INPUTS = pick(short=200, long=1_000_000)
SECONDS = pick(short=60, long=300)
# Each is a process that has the code of the readers rewritten first, which takes seconds.
NAMES = pick(short=("request", "policies.yaml", "model.gguf"), long=tuple(TARGETS))
TIMEOUT = pick(short=600, long=3_600)

FUZZER = Path(__file__).parents[1] / "support" / "fuzz.py"


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("name", NAMES)
def test_guided_by_coverage(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: there is no build of it for this Python or platform")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    flags = (
        *(f"-runs={INPUTS}", f"-max_total_time={SECONDS}", "-seed=1"),
        *("-max_len=1048576", f"-artifact_prefix={tmp_path}/"),
        # What an input may take: memory in MiB, and seconds.
        *("-rss_limit_mb=2048", f"-timeout={TIMEOUT}"),
    )
    fuzzed = subprocess.run(
        [sys.executable, "-P", FUZZER, name, corpus, *flags],
        env=clean_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    done = re.search(r"Done (\d+) runs", fuzzed.stderr)
    record_property("inputs", done[1] if done else "?")
    assert fuzzed.returncode == 0, (fuzzed.stdout + fuzzed.stderr)[-8000:]
