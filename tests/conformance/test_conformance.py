"""The same calls from every language, against the real service with a scripted model."""

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.clone import ROOT
from support.conformance.cases import Case, load, whole
from support.conformance.expectation import differences, last_code
from support.conformance.languages import BUILDING, LANGUAGES, Language, execute
from support.conformance.table import PROPERTY
from support.markdown import code_blocks
from support.scripted_engine import ScriptedEngine
from support.scripted_server import ScriptedServer, scripted_server

pytestmark = [pytest.mark.toolchain, pytest.mark.slow, pytest.mark.timeout(4 * BUILDING)]

SUITE = load(Path(__file__).parent / "cases.yaml")

# A timer may fire a little before its time, by the granularity of its clock.
GRANULARITY = 0.005


@dataclass
class Run:
    """What a driver found, by case, and the engine that it asked."""

    results: dict[str, dict[str, Any]]
    engine: ScriptedEngine


@pytest.fixture(scope="module", params=LANGUAGES, ids=lambda language: language.name)
def language(request: pytest.FixtureRequest) -> Language:
    """A language whose toolchain is there, its example and its driver built."""
    language: Language = request.param
    if missing := language.missing():
        message = f"{missing} not installed: `make toolchains` does it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    if language.example is not None:
        language.make_stubs()
        for command in commands_of(language.example)[:-1]:
            if command != "make protos":
                execute(("bash", "-c", command))
    for command in language.build:
        execute(command)
    return language


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server(SUITE.policy_sets, SUITE.script) as server:
        yield server


@pytest.fixture(scope="module")
def run(language: Language) -> Run:
    """The driver's run through all cases."""
    with scripted_server(SUITE.policy_sets, SUITE.script) as server:
        printed = execute(language.run, stdin=json.dumps(SUITE.plan(server)), variables=language.variables)
        results = [json.loads(line) for line in printed.splitlines()]
        return Run({result["name"]: result for result in results}, server.engine)


def commands_of(readme: Path) -> list[str]:
    """The commands of an example's README: those that build it, and last the one that runs it."""
    (block,) = [block for block in code_blocks(ROOT / readme) if block.language == "sh"]
    return block.text.splitlines()


@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.name)
def test_a_case(language: Language, case: Case, run: Run, record_property: Any) -> None:
    record_property(PROPERTY, (language.name, case.name))
    result = whole(run.results[case.name])
    if "ends_with" in case.expect:
        assert last_code(result) == case.expect["ends_with"]
        return
    if case.in_any_order:
        result["answers"].sort(key=lambda answer: answer["request_id"])
    assert not list(differences(case.expect, result))
    assert "error" in case.expect or "error" not in result
    if case.attempts is not None:
        attempts = run.engine.attempts[case.attempts["text"]]
        assert len(attempts) == case.attempts["count"]
        for one, next_one in itertools.pairwise(attempts):
            assert next_one - one >= case.attempts["apart"] - GRANULARITY


# Those of the others are in README.md, whose test runs them.
of_an_example = pytest.mark.parametrize(
    "language",
    [language for language in LANGUAGES if language.example],
    ids=lambda language: language.name,
    indirect=True,
    scope="module",
)

EXAMPLES = [
    # A message, more arguments, the status, and words of what is printed.
    ("Write a loop", (), 0, ["MATCHED code", "send it to large", "send it to small", "0.75", "review"]),
    ("", (), 1, ["INVALID_REQUEST", "the request is wrong", "messages: "]),
    ("Hello", ("nowhere",), 1, ["POLICY_SET_NOT_FOUND", "no such policy set"]),
    ("You are full", (), 1, ["QUEUE_FULL", "go on with a default model", "ask again in 50"]),
    ("You have a defect", (), 1, ["INTERNAL", "report what its log says"]),
]


@of_an_example
@pytest.mark.parametrize(
    ("message", "more", "status", "words"), EXAMPLES, ids=[str(each[0]) for each in EXAMPLES]
)
def test_an_example(
    language: Language,
    server: ScriptedServer,
    message: str,
    more: tuple[str, ...],
    status: int,
    words: list[str],
) -> None:
    assert language.example is not None
    command = commands_of(language.example)[-1]
    program, quoted, rest = command.partition('"')
    assert (quoted, rest[-1]) == ('"', '"'), f"the last command of {language.example} asks no question"
    script = f'{program} "$@" 2>&1; echo "status $?"'
    printed = execute(
        ("bash", "-c", script, "example", message, *more), variables=[("ARCHROUTE_ADDRESS", server.address)]
    )
    assert f"status {status}" in printed
    for word in words:
        assert word in printed


@of_an_example
def test_an_example_without_a_server(language: Language) -> None:
    assert language.example is not None
    command = commands_of(language.example)[-1]
    script = f'{command} 2>&1; echo "status $?"'
    printed = execute(("bash", "-c", script), variables=[("ARCHROUTE_ADDRESS", "localhost:1")])
    assert "status 1" in printed
    assert "go on with a default model" in printed
