"""A bundle of a tiny checkpoint, which decides at random but always alike, and examples for it."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint

NAMES = ("code_generation", "bug_fixing", "translation", "data & <tables>")
SECRET = "swordfish"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody changes."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(folder / "checkpoint")
    export_bundle(folder / "checkpoint", folder / "bundle")
    return folder / "bundle"


def make_lines(count: int) -> list[dict[str, object]]:
    """Examples of conversations of two turns, half of them with rewordings."""
    source = random.Random(count)
    lines: list[dict[str, object]] = []
    for index in range(count):
        names = source.sample(NAMES, source.randint(2, 4))
        messages = [{"role": "user", "content": f"please fix {SECRET} number {index // 2}"}]
        if index % 2:
            messages += [{"role": "assistant", "content": "how?"}, {"role": "user", "content": "by magic"}]
        line: dict[str, object] = {
            "policies": [{"name": name, "description": f"Requests about {name}"} for name in names],
            "messages": messages,
            "policy": source.choice([*names, "other"]),
            "language": source.choice(["en", "de"]),
            "tags": {"conversation": str(index // 2), "source": source.choice(["one", "two"])},
        }
        if index % 2:
            line["rewordings"] = {names[0]: ["Something else entirely", "And another thing"]}
        lines.append(line)
    return lines


WriteLines = Callable[[list[Mapping[str, object] | str]], Path]


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    def write(lines: list[Mapping[str, object] | str]) -> Path:
        path = tmp_path / "examples.jsonl"
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return path

    return write


@pytest.fixture
def lines() -> list[dict[str, object]]:
    return make_lines(24)


@pytest.fixture
def examples(write_lines: WriteLines, lines: list[dict[str, object]]) -> Path:
    return write_lines(list(lines))


@pytest.fixture
def secret() -> str:
    return SECRET
