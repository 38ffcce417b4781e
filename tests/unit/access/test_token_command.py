import argparse
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from archroute.commands import CommandError
from archroute_server.access.access_file import load_access_rules
from archroute_server.access.cli import command
from archroute_server.access.scope import Scope


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_is_found_by_its_entry_point() -> None:
    (entry_point,) = entry_points(group="archroute.commands", name="token")
    assert entry_point.load() is command


def test_the_token_alone_is_on_standard_output_and_its_line_fits_the_access_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("yes.gateway-1", "--scopes", "route", "health", "route") == 0
    written = capsys.readouterr()
    token = written.out.removesuffix("\n")
    assert re.fullmatch(r"archroute_[A-Za-z0-9_-]{43}", token)
    assert token not in written.err
    (line,) = (line for line in written.err.splitlines() if line.startswith("  - "))
    path = tmp_path / "access.yaml"
    path.write_text(f"tokens:\n{line}\n")
    (known,) = load_access_rules(path).tokens
    assert (known.name, known.scopes) == ("yes.gateway-1", {Scope.ROUTE, Scope.HEALTH})
    assert load_access_rules(path).find(token) == known


def test_by_default_a_token_may_route(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("no") == 0
    # In quotes, since YAML takes some words for something else.
    assert re.search(r'- \{name: "no", sha256: "[0-9a-f]{64}", scopes: \[route\]\}', capsys.readouterr().err)


@pytest.mark.parametrize("name", ["", "two words", "1st", "a" * 65, "é", "a\nb"])
def test_a_name_that_would_not_do_in_a_log(name: str) -> None:
    with pytest.raises(CommandError, match="is not a name for a token: a letter, then"):
        run(name)


def test_a_scope_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("gateway", "--scopes", "root")
    assert "invalid choice: 'root'" in capsys.readouterr().err
