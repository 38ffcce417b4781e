import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any, Self

import pytest

from archroute import Decision, Outcome, Tls, UnavailableError, cli
from archroute.commands import route

ROUTE = {"policy_set": None, "policies": None, "top_k": 0, "min_probability": 0.0}


class FakeRouter:
    """Stands in for `Router`: remembers how it was called and gives what it was told to."""

    def __init__(self, answer: Decision | Exception) -> None:
        self.answer = answer
        self.built: tuple[str, float] | None = None
        self.tls: bool | Tls = False
        self.token: str | None = None
        self.messages: Any = None
        self.options: dict[str, Any] = {}
        self.closed = False

    def __call__(self, address: str, *, timeout: float, tls: bool | Tls, token: str | None) -> Self:
        self.built = (address, timeout)
        self.tls, self.token = tls, token
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def route(self, messages: Any, **options: Any) -> Decision:
        self.messages, self.options = messages, options
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def router(decision: Decision, monkeypatch: pytest.MonkeyPatch) -> FakeRouter:
    router = FakeRouter(decision)
    monkeypatch.setattr(route, "Router", router)
    for name in ("ARCHROUTE_ADDRESS", "ARCHROUTE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return router


def type_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(["route", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_text_is_decided_and_reported(router: FakeRouter, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["route", "write a test"]) == 0
    assert router.built == ("localhost:50051", 30.0)
    assert (router.messages, router.options, router.closed) == ("write a test", ROUTE, True)
    captured = capsys.readouterr()
    assert captured.out.startswith("code_generation  87.5 %\n\n> code_generation")
    assert "\x1b" not in captured.out
    assert captured.err == ""


def test_json_is_one_document(router: FakeRouter, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["route", "write a test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == "code_generation"


def test_every_option_arrives(router: FakeRouter) -> None:
    options = ["--policy-set", "gateway", "--top-k", "3", "--min-probability", "0.5"]
    assert cli.main(["route", "hi", *options, "--address", "router:1", "--timeout", "2.5"]) == 0
    assert router.built == ("router:1", 2.5)
    assert router.options == {
        "policy_set": "gateway",
        "policies": None,
        "top_k": 3,
        "min_probability": 0.5,
    }


def test_the_environment_names_the_server_and_a_flag_overrules_it(
    router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHROUTE_ADDRESS", "from-environment:1")
    cli.main(["route", "hi"])
    assert router.built == ("from-environment:1", 30.0)
    cli.main(["route", "hi", "--address", "from-flag:1"])
    assert router.built == ("from-flag:1", 30.0)


def test_the_token_comes_from_the_environment_or_a_file_and_not_from_a_flag(
    router: FakeRouter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli.main(["route", "hi"])
    assert (router.token, router.tls) == (None, False)
    monkeypatch.setenv("ARCHROUTE_TOKEN", "archroute_environment")
    cli.main(["route", "hi"])
    assert router.token == "archroute_environment"
    file = tmp_path / "token"
    file.write_text("archroute_file\n")
    cli.main(["route", "hi", "--token-file", str(file)])
    assert router.token == "archroute_file"


def test_a_token_file_that_cannot_be_read_is_named(
    router: FakeRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["route", "hi", "--token-file", "nowhere"]) == 1
    assert capsys.readouterr().err == "archroute: cannot read nowhere: No such file or directory\n"
    file = tmp_path / "token"
    file.write_bytes(b"secret\xff")
    assert cli.main(["route", "hi", "--token-file", str(file)]) == 1
    assert capsys.readouterr().err == f"archroute: {file} is not UTF-8 text\n"
    assert router.built is None


@pytest.mark.parametrize(
    ("flags", "tls"),
    [
        (["--tls"], True),
        (["--tls-ca", "ca.pem"], Tls(ca="ca.pem")),
        (
            ["--tls", "--tls-certificate", "c.pem", "--tls-key", "c.key"],
            Tls(certificate="c.pem", key="c.key"),
        ),
    ],
)
def test_flags_turn_on_encryption(router: FakeRouter, flags: list[str], tls: bool | Tls) -> None:
    assert cli.main(["route", "hi", *flags]) == 0
    assert router.tls == tls


def test_a_dash_reads_standard_input(router: FakeRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "schreib es größer\n".encode())
    assert cli.main(["route", "-"]) == 0
    assert router.messages == "schreib es größer\n"


@pytest.mark.parametrize("from_stdin", [True, False])
def test_messages_are_read_as_json(
    router: FakeRouter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, from_stdin: bool
) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]
    data = json.dumps(messages).encode()
    file = tmp_path / "messages.json"
    file.write_bytes(data)
    type_in(monkeypatch, data)
    assert cli.main(["route", "--messages", "-" if from_stdin else str(file)]) == 0
    assert router.messages == messages


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"the secret", "messages.json is not JSON: Expecting value at line 1, column 1"),
        (b'{"role": "user", "content": "the secret"}', "messages.json must hold a JSON list"),
        (b"the secret \xff", "messages.json is not UTF-8: see byte 11"),
    ],
)
def test_messages_that_are_none_are_refused(
    router: FakeRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, said: str
) -> None:
    file = tmp_path / "messages.json"
    file.write_bytes(data)
    assert cli.main(["route", "--messages", str(file)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "secret" not in error
    assert router.built is None


def test_a_file_that_is_not_there_is_named(router: FakeRouter, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["route", "--messages", "nowhere.json"]) == 1
    assert capsys.readouterr().err == "archroute: cannot read nowhere.json: No such file or directory\n"


def test_standard_input_that_is_not_text_is_refused(
    router: FakeRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, b"caf\xe9")
    assert cli.main(["route", "-"]) == 1
    assert capsys.readouterr().err == "archroute: standard input is not UTF-8: see byte 3\n"


def test_the_policies_of_a_file_are_sent_and_its_set_is_not_asked_of_the_server(
    router: FakeRouter, tmp_path: Path
) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text("policy_sets: [{name: gateway, policies: [{name: code, description: Writing code}]}]")
    assert cli.main(["route", "hi", "--policies", str(file), "--policy-set", "gateway"]) == 0
    assert router.options["policy_set"] is None
    assert router.options["policies"] == [{"name": "code", "description": "Writing code"}]


def test_an_error_is_one_line_on_standard_error(
    router: FakeRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    router.answer = UnavailableError("no archroute server answers at localhost:50051")
    assert cli.main(["route", "hi", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "archroute: no archroute server answers at localhost:50051\n"
    assert router.closed


@pytest.mark.parametrize("outcome", [Outcome.OTHER, Outcome.LOW_CONFIDENCE])
def test_a_decision_for_no_policy_is_a_decision(
    router: FakeRouter, decision: Decision, outcome: Outcome
) -> None:
    router.answer = dataclasses.replace(decision, outcome=outcome, policy=None, models=())
    assert cli.main(["route", "hi"]) == 0


def test_an_outcome_that_is_not_known_is_no_success(
    router: FakeRouter, decision: Decision, capsys: pytest.CaptureFixture[str]
) -> None:
    router.answer = dataclasses.replace(decision, outcome=Outcome.UNRECOGNIZED, policy=None, models=())
    assert cli.main(["route", "hi", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "upgrade archroute" in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of the arguments text --messages is required"),
        (["hi", "--messages", "file"], "not allowed with argument"),
        (["hi", "--top-k", "-1"], "'-1' is not 0 or a whole number above it"),
        (["hi", "--top-k", "x"], "'x' is not 0 or a whole number above it"),
        (["hi", "--min-probability", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["hi", "--min-probability", "nan"], "'nan' is not a number from 0 to 1"),
        (["hi", "--timeout", "0"], "'0' is not a number above 0"),
        (["hi", "--timeout", "soon"], "'soon' is not a number above 0"),
        (["hi", "--verbose"], "unrecognized arguments: --verbose"),
    ],
)
def test_wrong_usage_is_explained(
    router: FakeRouter, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in usage_error(arguments, capsys)
    assert router.built is None
