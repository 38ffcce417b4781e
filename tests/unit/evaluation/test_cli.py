import argparse
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from archroute import Tls, UnavailableError
from archroute.commands import CommandError
from archroute_evaluation.asking import running_server
from archroute_evaluation.cli import calibrate, evaluate
from archroute_evaluation.cli.arguments import seconds, share, whole_number
from archroute_server.config import Settings

EXAMPLES = Path(__file__).parents[3] / "examples" / "labelled.jsonl"


def parse(command, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(evaluate.command, ("x.jsonl",)), (calibrate.command, ("x.jsonl", "--model", "bundle"))],
)
def test_a_bundle_is_run_as_a_server_runs_it(command, arguments: tuple[str, ...]) -> None:
    parsed, settings = parse(command, *arguments), Settings()
    assert parsed.provider == settings.provider
    assert parsed.threads == settings.threads
    assert parsed.max_prompt_tokens == settings.max_prompt_tokens


def test_a_bundle_or_a_server_is_evaluated_and_not_both() -> None:
    with pytest.raises(argparse.ArgumentError, match="not allowed with"):
        parse(evaluate.command, "x.jsonl", "--model", "bundle", "--server", "localhost:1")


def test_a_server_is_called_as_the_flags_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[tuple[object, ...]] = []

    class FakeRouter:
        def __init__(self, address: str, *, timeout: float, tls: bool | Tls, token: str | None) -> None:
            called.append((address, tls, token))

        async def __aenter__(self) -> NoReturn:
            raise UnavailableError("nobody is there")

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(running_server, "AsyncRouter", FakeRouter)
    monkeypatch.setenv("ARCHROUTE_TOKEN", "archroute_environment")
    file = tmp_path / "token"
    file.write_text("archroute_file\n")
    for flags in (["--tls"], ["--tls-ca", "ca.pem", "--token-file", str(file)]):
        parsed = parse(evaluate.command, str(EXAMPLES), "--server", "router:1", *flags)
        with pytest.raises(CommandError, match="nobody is there"):
            evaluate.command.run(parsed)
    assert called == [
        ("router:1", True, "archroute_environment"),
        ("router:1", Tls(ca="ca.pem"), "archroute_file"),
    ]


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (whole_number(1), "0"), (whole_number(0), "-1"), (whole_number(0), "1.5"), (whole_number(0), "²"),
        (share, "1.1"), (share, "-0.1"), (share, "nan"), (share, "x"),
        (seconds, "0"), (seconds, "inf"), (seconds, "nan"), (seconds, "soon"),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_named(parser, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is not a"):
        parser(text)


@pytest.mark.parametrize("name", ["evaluate", "calibrate"])
def test_listing_the_commands_loads_nothing_heavy(name: str) -> None:
    program = f"""
import sys
from archroute_evaluation.cli import {name}
heavy = {{"numpy", "onnxruntime", "matplotlib", "jinja2", "rich", "msgspec", "tokenizers"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
