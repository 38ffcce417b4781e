from pathlib import Path

import pytest

from archroute_server.access import access_file
from archroute_server.access.access_file import AccessFileError, load_access_rules
from archroute_server.access.bearer_token import BearerToken
from archroute_server.access.limits import UNLIMITED, CallerLimits
from archroute_server.access.scope import Scope

A, B = "a" * 64, "0123456789" * 6 + "0123"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.yaml"


def problem(file: Path, content: str) -> str:
    """Return what is wrong as `line:column: reason`."""
    file.write_text(content)
    with pytest.raises(AccessFileError) as caught:
        load_access_rules(file)
    assert str(caught.value).startswith(f"{file}:")
    return str(caught.value).removeprefix(f"{file}:").strip()


def test_everything_a_file_can_say(file: Path) -> None:
    file.write_text(
        f"""\
        anonymous: [health, reflection]
        limits: {{concurrent_requests: 4, requests_per_second: 2.5}}
        tokens:
          - name: gateway
            sha256: {A}
            scopes: [route]
          - name: operator
            sha256: {B}   # of digits alone, which YAML takes for a number
            scopes: [read, admin]
            limits: {{requests_per_second: 1, burst: 9}}
          - {{name: free, sha256: {"b" * 64}, scopes: [], limits: {{}}}}
        """
    )
    rules = load_access_rules(file)
    assert rules.anonymous == {Scope.HEALTH, Scope.REFLECTION}
    shared = CallerLimits(4, 2.5, None)
    assert rules.anonymous_limits == shared
    assert shared.bucket_size == 3
    assert rules.tokens == (
        BearerToken("gateway", A, frozenset({Scope.ROUTE}), shared),
        BearerToken("operator", B, frozenset({Scope.READ, Scope.ADMIN}), CallerLimits(None, 1.0, 9)),
        BearerToken("free", "b" * 64, frozenset(), UNLIMITED),
    )


def test_the_example_of_the_documentation_is_a_file(file: Path) -> None:
    assert access_file.__doc__ is not None
    example = access_file.__doc__.split("\n\n")[1]
    file.write_text(example)
    rules = load_access_rules(file)
    assert [token.name for token in rules.tokens] == ["gateway", "operator"]


def test_limits_alone_are_a_file_if_somebody_may_do_something(file: Path) -> None:
    file.write_text("anonymous: [route]\nlimits: {requests_per_second: 5}\n")
    rules = load_access_rules(file)
    assert (rules.tokens, rules.anonymous_limits.bucket_size) == ((), 5)


def entry(**changes: str) -> str:
    fields = {"name": "gateway", "sha256": A, "scopes": "[route]"} | changes
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty; it needs `tokens` or `anonymous`"),
        ("tokens: []\n", "1:1: nobody may do anything; give `tokens`, or scopes to `anonymous`"),
        ("tokens: gateway\n", "1:9: tokens must be a list, not text"),
        ("token: []\n", "1:1: the file has the unknown key `token`; did you mean `tokens`?"),
        ("anonymous: health\n", "1:12: anonymous must be a list, not text"),
        (
            "anonymous: [heath]\n",
            "1:13: anonymous: there is no scope 'heath'; the scopes are `route`, `read`, `admin`, `health`, "
            "`reflection`",
        ),
        ("tokens:\n- {name: a}\n", "2:3: tokens[0] has no `sha256`"),
        (
            f"tokens:\n- {entry(name='no')}\n",
            "2:10: tokens[0].name must be text, not the bool no; put it in quotes",
        ),
        (
            f"tokens:\n- {entry(name='two words')}\n",
            "2:10: tokens[0].name: is not a letter, then letters, digits, `.`, `_` or `-`, 64 characters",
        ),
        (
            f"tokens:\n- {entry(sha256='archroute_secret')}\n",
            "2:27: tokens[0].sha256: is not a SHA-256, which is 64 of the characters 0-9 and a-f; "
            "`archroute token` prints it",
        ),
        (f"tokens:\n- {entry(sha256='[]')}\n", "2:27: tokens[0].sha256: is not a SHA-256, which"),
        (f"tokens:\n- {entry(sha256=A.upper())}\n", "2:27: tokens[0].sha256: is not a SHA-256, which"),
        (
            f"tokens:\n- {entry()}\n- {entry(sha256=B)}\n",
            "3:10: tokens[1].name: is that of tokens[0] already",
        ),
        (
            f"tokens:\n- {entry()}\n- {entry(name='b')}\n",
            "3:21: tokens[1].sha256: is that of tokens[0] already",
        ),
        (f"tokens:\n- {entry(scopes='route')}\n", "2:101: tokens[0].scopes must be a list, not text"),
        (
            "anonymous: [route]\nlimits: {burst: 3}\n",
            "2:17: limits.burst: has no meaning without `requests_per_second`",
        ),
        (
            "anonymous: [route]\nlimits: {concurrent_requests: 0}\n",
            "2:31: limits.concurrent_requests must be a whole number from 1 to 1e+06, not 0",
        ),
        (
            "anonymous: [route]\nlimits: {concurrent_requests: 1.5}\n",
            "2:31: limits.concurrent_requests must be a whole number from 1 to 1e+06, not the float 1.5",
        ),
        (
            "anonymous: [route]\nlimits: {requests_per_second: many}\n",
            "2:31: limits.requests_per_second must be a number from 0.001 to 1e+06, not text",
        ),
        (
            "anonymous: [route]\nlimits: {requests_per_second: .nan}\n",
            "2:31: limits.requests_per_second must be a number from 0.001 to 1e+06, not .nan",
        ),
        (
            "anonymous: [route]\nlimits: {requests_per_second: 1:30}\n",
            "2:31: limits.requests_per_second must be a number from 0.001 to 1e+06, not 1:30",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(file: Path, content: str, expected: str) -> None:
    assert problem(file, content).startswith(expected)


def test_a_token_that_stands_where_its_hash_should_is_not_quoted(file: Path) -> None:
    for key in ("sha256", "token"):
        assert "archroute_secret" not in problem(file, f"tokens:\n- {entry(**{key: 'archroute_secret'})}\n")


def test_too_many_tokens(file: Path) -> None:
    entries = "\n".join(f"- {entry(name=f'n{number}', sha256=f'{number:064x}')}" for number in range(1001))
    assert problem(file, f"tokens:\n{entries}\n").startswith("1002:3: tokens has 1001 entries; at most 1000")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"# nothing\n", "is empty; it needs"),
        (b"tokens: [\n", "2:1: is not valid YAML: while parsing a flow node"),
        (b"tokens: \xff\n", "1:1: is not UTF-8 text"),
        (b"tokens:\n- \x07\n", "2:3: holds the character U+0007, which YAML allows only as an escape"),
        (b"[tokens]\n", "1:1: the file must be a mapping with `anonymous`, `limits`, `tokens`, not a list"),
        (b"tokens: []\ntokens: []\n", "2:1: the file has the key `tokens` twice"),
        (b"roles: []\n", "1:1: the file has the unknown key `roles`; it is a mapping with"),
        (b"7: []\n", "1:1: a key of the file must be text, not the int 7; put it in quotes"),
        (b"tokens:\n", "1:8: tokens must be a list, not empty"),
    ],
)
def test_a_file_that_is_none(file: Path, content: bytes, expected: str) -> None:
    file.write_bytes(content)
    with pytest.raises(AccessFileError) as refused:
        load_access_rules(file)
    assert str(refused.value).removeprefix(f"{file}:").strip().startswith(expected)


def test_a_byte_order_mark_is_accepted(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfanonymous: [route]\n")
    assert load_access_rules(file).anonymous == {Scope.ROUTE}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match=r"none\.yaml: cannot be read: No such file"):
        load_access_rules(tmp_path / "none.yaml")
