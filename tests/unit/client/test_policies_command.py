"""`archroute policies` in front of a router without a server."""

from pathlib import Path
from typing import Any

import pytest

from archroute import Finding, Severity, UnavailableError, Validation, cli
from archroute.commands import policies
from archroute.testing import FakeRouter, decision

FILE = """\
default: first
policy_sets:
  - name: first
    default_policy: code
    policies:
      - name: code
        description: Writing code
        models: [large, small]
      - {name: talk, description: Greetings}
  - name: second
    policies:
      - {name: all, description: Everything}
"""


class Router(FakeRouter):
    """Judges as it is told to."""

    def __init__(self) -> None:
        super().__init__(decision(None))
        self.validation = Validation((), "sha256:1", 100, 4096)
        self.validated: list[dict[str, Any]] = []
        self.built: tuple[str, float] | None = None

    def __call__(self, address: str, *, timeout: float) -> "Router":
        self.built = (address, timeout)
        return self

    def validate_policy_set(self, policies: Any, **options: Any) -> Validation:
        self.validated.append({"policies": policies, **options})
        return self.validation


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    router = Router()
    monkeypatch.setattr(policies, "Router", router)
    monkeypatch.delenv("ARCHROUTE_ADDRESS", raising=False)
    return router


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policies.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def run(*arguments: object) -> int:
    return cli.main(["policies", *map(str, arguments)])


def test_findings_are_shown_where_they_are(
    router: Router, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    router.validation = Validation(
        (
            Finding(Severity.ERROR, "INVALID", "policies[0].models[1]", "is too long"),
            Finding(Severity.WARNING, "NO_MODELS", "policies[1].models", "is empty"),
            Finding(Severity.WARNING, "LITTLE_ROOM", "policies", "take much"),
        ),
        "",
        0,
        0,
    )
    assert run("validate", file, "--policy-set", "first") == 1
    assert capsys.readouterr().out == (
        f"{file}:8:25: error: policies[0].models[1] is too long [INVALID]\n"
        f"{file}:9:9: warning: policies[1].models is empty [NO_MODELS]\n"
        f"{file}:6:7: warning: policies take much [LITTLE_ROOM]\n"
        "first: 1 error\n"
    )


def test_every_set_of_a_file_is_checked(
    router: Router, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("validate", file) == 0
    assert capsys.readouterr().out == (
        "first: can be used, 0 warnings, 100 of 4096 tokens of a prompt, sha256:1\n"
        "second: can be used, 0 warnings, 100 of 4096 tokens of a prompt, sha256:1\n"
    )
    assert [(each["name"], each["default_policy"]) for each in router.validated] == [
        ("first", "code"),
        ("second", None),
    ]
    assert router.validated[0]["policies"][0].models == ("large", "small")


def test_sets_are_put_listed_shown_and_deleted(
    router: Router, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("put", file) == 0
    revision = router.get_policy_set("first").revision
    assert capsys.readouterr().out.startswith(f"first: stored, {revision}\nsecond: stored, ")
    assert run("list") == 0
    assert capsys.readouterr().out.startswith(f"first  2 policies  store, default  {revision}\nsecond")
    assert run("get", "first") == 0
    shown = tmp_path / "shown.yaml"
    shown.write_text(capsys.readouterr().out, encoding="utf-8")
    assert shown.read_text(encoding="utf-8").startswith(f"# {revision}\n")
    assert run("put", shown, "--if-revision", revision) == 0
    assert router.get_policy_set("first").revision == revision
    assert run("delete", "second", "--if-revision", "sha256:0") == 1
    assert "has the revision" in capsys.readouterr().err
    assert run("delete", "second") == 0
    assert [each.name for each in router.list_policy_sets()] == ["first"]


def test_one_revision_is_for_one_set(router: Router, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("put", file, "--if-revision", "") == 1
    assert "pick one with --policy-set" in capsys.readouterr().err
    assert run("put", file, "--if-revision", "", "--policy-set", "second") == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it needs `policy_sets`"),
        ("policy_sets: [", "is not YAML"),
        ("policy_sets: []", "has no policy sets"),
        (
            "policy_sets:\n  - name: no\n    policies: []",
            ":2:11: policy_sets[0].name must be text, not the bool no",
        ),
        (
            "policy_sets:\n  - name: a\n    policies: [{name: a}]",
            ":3:16: policy_sets[0].policies[0] has no `desc",
        ),
        ("policy_set: []", ":1:1: the file has the unknown key `policy_set`; did you mean `policy_sets`?"),
    ],
)
def test_a_file_of_another_shape_is_named(
    router: Router, tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    assert run("validate", path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"archroute: {path}")
    assert message in error
    assert not router.validated


def test_a_file_that_is_not_there_and_a_set_that_is_not_in_it(
    router: Router, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("put", file.with_name("none.yaml")) == 1
    assert "cannot read" in capsys.readouterr().err
    assert run("put", file, "--policy-set", "third") == 1
    assert "has no policy set 'third'; it has first, second" in capsys.readouterr().err


def test_the_address_may_be_given(
    router: Router, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHROUTE_ADDRESS", "router.test:1")
    assert run("list") == 0
    assert router.built == ("router.test:1", 30.0)
    assert run("list", "--address", "router.test:2") == 0
    assert router.built == ("router.test:2", 30.0)


def test_what_the_server_says_is_told(
    router: Router, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**options: Any) -> Any:
        raise UnavailableError("nobody there")

    monkeypatch.setattr(router, "list_policy_sets", fail)
    assert run("list") == 1
    assert capsys.readouterr().err == "archroute: nobody there\n"


def test_an_action_is_needed(router: Router) -> None:
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
