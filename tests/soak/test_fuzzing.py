"""Readers of what others wrote, given almost what they expect: a declared error, and never anything else.

A reader that hangs is ended by the test's timeout, and one that believes a size by the bound on memory.
"""

import json
import random
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.fuzz_targets import TARGETS, Target, scratch_folder
from support.mutations import AWKWARD_NUMBERS, mutated
from support.soak import pick

INPUTS = pick(short=100, long=20_000)
TIMEOUT = pick(short=300, long=3_600)
MOST_MEMORY_BYTES = 2**30

JSON_TARGETS = [name for name in TARGETS if name.endswith((".json", ".jsonl"))]

fuzzing = settings(
    max_examples=INPUTS,
    database=None,
    suppress_health_check=[*HealthCheck],
)


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """Let this process have at most so much more memory than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch_folder() as folder:
        yield Path(folder)


def run(target: Target, inputs: st.SearchStrategy[bytes], folder: Path, record: Callable[..., None]) -> None:
    """Let the target read the inputs, and note how many it accepted."""
    accepted: Counter[bool] = Counter()

    @fuzzing
    @given(inputs)
    def read(data: bytes) -> None:
        accepted[target.check(data, folder)] += 1

    read()
    record("inputs, and those accepted", f"{accepted.total()}, {accepted[True]}")


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_accepted(name: str, folder: Path) -> None:
    """Else nothing that is made of it would get far."""
    target = TARGETS[name]
    seeds = target.seeds(folder)
    assert any(target.check(seed, folder) for seed in seeds)


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("name", TARGETS)
def test_altered_bytes(name: str, folder: Path, record_property: Callable[[str, object], None]) -> None:
    target = TARGETS[name]
    seeds = target.seeds(folder)
    inputs = st.integers(0, 2**64).map(lambda seed: mutated(seeds, random.Random(seed)))
    run(target, inputs, folder, record_property)


# Lone surrogates too, which JSON can write as escapes.
TEXT = st.text(max_size=20) | st.text(st.characters(categories=["Cs"]), max_size=3)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([*AWKWARD_NUMBERS, -1, 10**400])
    | st.floats()
    | TEXT
    | st.sampled_from(["", ".", "..", "/", "a\0b", "a" * 300, "other", "<|im_end|>"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def altered(draw: st.DrawFn, document: Any) -> Any:
    """Return the document with another value, or none, somewhere in it."""
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 4)) == 0:
        return draw(JSON)
    copy = document.copy()
    key = draw(st.sampled_from(sorted(copy) if isinstance(copy, dict) else range(len(copy))))
    change = draw(st.sampled_from(["alter", "alter", "alter", "leave out", "add"]))
    if change == "alter":
        copy[key] = draw(altered(copy[key]))
    elif change == "leave out":
        del copy[key]
    elif isinstance(copy, dict):
        copy[draw(TEXT)] = draw(JSON)
    else:
        copy.insert(key, draw(JSON))
    return copy


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("name", JSON_TARGETS)
def test_altered_json(name: str, folder: Path, record_property: Callable[[str, object], None]) -> None:
    target = TARGETS[name]
    (seed,) = target.seeds(folder)
    # A document, or one on each line.
    documents = [json.loads(line) for line in (seed.splitlines() if name.endswith(".jsonl") else [seed])]
    inputs = st.sampled_from(documents).flatmap(altered).map(lambda value: json.dumps(value).encode())
    run(target, inputs, folder, record_property)


# What has a meaning in YAML, and a few words for it to apply to.
YAML_PIECES = st.sampled_from(
    [
        *("- ", ": ", "? ", "\n", "  ", "\t", "[", "]", "{", "}", ", ", "#", "|\n", ">-\n", "---\n", "...\n"),
        *("&a ", "*a", "<<: ", "!!str ", "!<%41> ", "%YAML 1.1\n"),
        *('"', "'", "\\", '"\\U00110000"', '"\\ud800"', "\0", "\x85"),
        *("default", "policy_sets", "policies", "name", "description", "models", "default_policy"),
        *("other", "a", "9"),
    ]
)


@pytest.mark.timeout(TIMEOUT)
def test_made_up_yaml(folder: Path, record_property: Callable[[str, object], None]) -> None:
    target = TARGETS["policies.yaml"]
    target.prepare(folder)
    inputs = st.lists(YAML_PIECES | st.text(max_size=5), max_size=60)
    run(target, inputs.map(lambda pieces: "".join(pieces).encode()), folder, record_property)
