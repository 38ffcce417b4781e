from pathlib import Path

import pytest

from archroute.commands import CommandError
from archroute.commands.policies_file import read_policies

ONE = """
policy_sets:
  - name: gateway
    policies:
      - {name: code, description: Writing code, models: [a, b]}
"""
TWO = """
default: second
policy_sets:
  - {name: first, policies: [{name: code, description: Writing code}]}
  - {name: second, policies: [{name: prose, description: Writing prose}]}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policies.yaml"


@pytest.mark.parametrize(
    ("text", "name", "chosen"),
    [
        (ONE, None, "code"),
        (ONE, "gateway", "code"),
        (TWO, None, "prose"),
        (TWO, "first", "code"),
        (TWO.replace("default: second", ""), "second", "prose"),
    ],
)
def test_a_set_is_chosen(path: Path, text: str, name: str | None, chosen: str) -> None:
    path.write_text(text)
    assert [policy["name"] for policy in read_policies(path, name)] == [chosen]


def test_policies_are_read_whole(path: Path) -> None:
    path.write_text(ONE)
    assert read_policies(path, None) == [
        {"name": "code", "description": "Writing code", "models": ["a", "b"]}
    ]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (TWO.replace("default: second", ""), None, "several policy sets and no default; .*first, second"),
        (TWO, "third", "no policy set 'third'; it has first, second"),
        (TWO.replace("default: second", "default: third"), None, "no policy set 'third'"),
        (TWO.replace("default: second", "default: 2"), None, "default must be the name"),
        (
            TWO.replace("name: second", "name: first"),
            None,
            r"policy_sets\[1\] has the name of an earlier set",
        ),
        ("", None, "must have a list `policy_sets`"),
        ("- name: gateway", None, "must have a list `policy_sets`"),
        ("policy_sets: gateway", None, "must have a list `policy_sets`"),
        ("policy_sets: []", None, "has no policy sets"),
        ("policy_sets: [gateway]", None, r"policy_sets\[0\] must have a `name`"),
        ("policy_sets: [{policies: []}]", None, r"policy_sets\[0\] must have a `name`"),
        ("policy_sets: [{name: yes, policies: []}]", None, r"policy_sets\[0\] must have a `name`"),
        ("policy_sets: [{name: gateway}]", None, r"policy_sets\[0\] must have a list `policies`"),
        ("policy_sets: [", None, "(?s)is not YAML: .*line 1"),
        ("policy_sets: [{name: gateway, policies: [2026-99-99]}]", None, "is not YAML"),
        ("policy_sets: !!python/object/apply:os.getcwd []", None, "is not YAML"),
    ],
)
def test_a_file_of_another_shape_is_refused(path: Path, text: str, name: str | None, said: str) -> None:
    path.write_text(text)
    with pytest.raises(CommandError, match=said) as caught:
        read_policies(path, name)
    assert str(path) in str(caught.value)


def test_bytes_that_are_not_text_are_refused(path: Path) -> None:
    path.write_bytes(b"policy_sets: \xff\xfe")
    with pytest.raises(CommandError, match="is not YAML"):
        read_policies(path, None)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(CommandError, match=f"cannot read {path}: No such file"):
        read_policies(path, None)
