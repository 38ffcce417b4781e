"""The arguments of `archroute finetune`."""

import argparse
from pathlib import Path

import pytest

from archroute_export.finetune import cli
from archroute_export.finetune.training.settings import TrainingSettings
from archroute_server.router.prompt import VARIANTS

REQUIRED = ("--base", "embedded", "--data", "train.jsonl", "--output", "adapter")


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.command.add_arguments(parser)
    return parser.parse_args([*REQUIRED, *arguments])


def test_what_it_repeats_is_what_the_rooms_say() -> None:
    defaults = TrainingSettings(cli.DEFAULT_PROMPT)
    given = parse()
    assert given.prompt in VARIANTS
    for name in ("rank", "learning_rate", "epochs", "rows_per_step", "seed"):
        assert getattr(given, name) == getattr(defaults, name), name
    assert defaults.alpha == 2 * defaults.rank
    assert (given.data, given.validation) == ([Path("train.jsonl")], [])
    assert (given.start, given.minutes) == (None, None)


@pytest.mark.parametrize("flag", ["--epochs", "--rank", "--rows-per-step", "--minutes"])
@pytest.mark.parametrize(("value", "reason"), [("0", "must be at least 1"), ("many", "invalid whole number")])
def test_a_number_that_cannot_be_is_refused(
    flag: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(flag, value)
    assert f"argument {flag}: {reason}" in capsys.readouterr().err
