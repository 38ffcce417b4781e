import argparse
from pathlib import Path

import pytest

from archroute.commands import CommandError
from archroute_export.finetune.examples_cli import command
from archroute_server.router.example_file import read_examples

LEGAL = """
domain: {name: legal, descriptions: [The law]}
policies:
  - {name: contracts, descriptions: [Reviewing contracts], requests: [is clause 4 ok, read my lease]}
  - {name: tenancy, descriptions: [Renting], requests: [rent went up, my deposit]}
"""
POETRY = """
domain: {name: poetry, descriptions: [Poems]}
policies:
  - {name: haiku, descriptions: [Writing haikus], requests: [a haiku on rain, five seven five]}
  - {name: limericks, descriptions: [Writing limericks], requests: [there was a man, funny rhyme]}
"""


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "legal.yaml").write_text(LEGAL)
    (folder / "poetry.yaml").write_text(POETRY)
    (tmp_path / "splits.yaml").write_text("test: [own/poetry]\n")
    return folder


def test_builds_the_files(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = own.parent / "built"
    assert run("build", "--requests", own, "--data", own.parent, "--output", output, "--sets", 3) == 0
    assert len(read_examples(output / "train.jsonl")) > 3
    assert {example.tags["domain"] for example in read_examples(output / "test-own.jsonl")} == {"poetry"}
    assert f"{output / 'train.jsonl'}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no requests: name some with --requests, --clinc150 or --sgd"),
        (["--requests", "gone.yaml"], "gone.yaml: cannot be read"),
        (["--clinc150", "gone"], "cannot be read: No such file"),
        (["--sgd", "gone"], "cannot be read: No such file"),
    ],
)
def test_what_is_missing_is_named(own: Path, arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run("build", "--output", own.parent / "built", "--data", own.parent, *arguments)


def test_a_missing_split_file_is_named(own: Path) -> None:
    with pytest.raises(CommandError, match=r"mine\.yaml: cannot be read"):
        run(
            "build", "--requests", own, "--output", own.parent / "built", "--splits", own.parent / "mine.yaml"
        )


@pytest.mark.parametrize("sets", ["0", "-3", "many"])
def test_a_wrong_number_of_sets_is_refused(sets: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("build", "--output", "built", "--sets", sets)
    assert "--sets" in capsys.readouterr().err


def test_a_fetch_that_fails_is_a_command_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a web address"):
        run("fetch", "--output", tmp_path, "--clinc150-from", "ftp://example.org")
