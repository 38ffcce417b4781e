import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.router.example import Example
from archroute_server.router.example_file import (
    ExampleFileError,
    format_example,
    iterate_examples,
    read_examples,
    write_examples,
)
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy

LINE: dict[str, Any] = {
    "policies": [
        {"name": "poetry", "description": "Poems"},
        {"name": "recipes", "description": "What to cook"},
    ],
    "messages": [{"role": "user", "content": "four lines about rain"}],
    "policy": "poetry",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "examples.jsonl"


def write(file: Path, *lines: object) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_reads_what_the_format_says(file: Path) -> None:
    write(file, LINE | {"language": "en", "tags": {"source": "gateway"}, "rewordings": {"poetry": ["Verse"]}})
    assert read_examples(file) == [
        Example(
            policies=(Policy("poetry", "Poems"), Policy("recipes", "What to cook")),
            messages=(Message(Role.USER, "four lines about rain"),),
            expected="poetry",
            language="en",
            tags={"source": "gateway"},
            rewordings={"poetry": ("Verse",)},
        )
    ]


def test_lines_with_the_same_policies_share_them(file: Path) -> None:
    first, second = read_examples(write(file, LINE, LINE | {"policy": "recipes"}))
    assert first.policies is second.policies


def test_blank_lines_and_a_byte_order_mark_are_skipped(file: Path) -> None:
    file.write_text("\ufeff" + json.dumps(LINE) + "\n\n  \n" + json.dumps(LINE), encoding="utf-8")
    assert len(read_examples(file)) == 2


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)
NAMES = TEXT.map(str.strip).filter(bool).filter(lambda name: name != "other")


@given(
    names=st.lists(NAMES, min_size=1, max_size=5, unique=True),
    description=TEXT.filter(str.strip),
    text=st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip),
    language=st.sampled_from(["", "en", "zh"]),
    tags=st.dictionaries(TEXT, st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    description: str,
    text: str,
    language: str,
    tags: dict[str, str],
) -> None:
    example = Example(
        policies=tuple(Policy(name, description) for name in names),
        messages=(Message(Role.ASSISTANT, ""), Message(Role.USER, text)),
        expected=names[-1],
        language=language,
        tags=tags,
        rewordings={names[0]: (description,)},
    )
    file = tmp_path_factory.mktemp("written") / "examples.jsonl"
    assert write_examples(file, [example, example]) == 2
    assert read_examples(file) == [example, example]


def test_a_line_holds_no_line_break() -> None:
    example = Example((Policy("poetry", "Poems"),), (Message(Role.USER, "a\nb\u2028c"),), "poetry")
    assert "\n" not in format_example(example)


def test_nothing_is_left_of_a_file_that_could_not_be_finished(file: Path) -> None:
    def examples() -> Any:
        yield Example((Policy("poetry", "Poems"),), (Message(Role.USER, "rain"),), "poetry")
        raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError):
        write_examples(file, examples())
    assert list(file.parent.iterdir()) == []


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in LINE.items() if name != key}


WRONG_LINES: list[tuple[object, str]] = [
    ([], "the line must be an object, not a list"),
    (without("policies"), "the line has no 'policies'"),
    (without("messages"), "the line has no 'messages'"),
    (without("policy"), "the line has no 'policy'"),
    (LINE | {"expected": "poetry"}, "unknown field 'expected'"),
    (LINE | {"policy": "tax"}, "the expected policy 'tax' is not among its 2 policies"),
    (LINE | {"policy": None}, "policy must be text, not null"),
    (LINE | {"policies": []}, "policies: is empty"),
    (LINE | {"policies": {}}, "policies must be a list, not an object"),
    (LINE | {"policies": [{"name": "poetry"}]}, "policies[0] has no 'description'"),
    (LINE | {"policies": LINE["policies"] * 2}, "'poetry' is already the name of policies[0]"),
    (LINE | {"policies": [{"name": "other", "description": "Rest"}]}, "'other' is reserved"),
    (LINE | {"messages": []}, "no user message with text"),
    (LINE | {"messages": [{"role": "user"}]}, "messages[0] has no 'content'"),
    (LINE | {"messages": [{"role": "customer", "content": "hi"}]}, "messages[0].role is 'customer'"),
    (LINE | {"messages": [{"role": "user", "content": 7}]}, "messages[0].content must be text, not a number"),
    (LINE | {"messages": [{"role": "user", "content": "\ud83d"}]}, "half of a surrogate pair"),
    (LINE | {"language": "\ud83d"}, "language is not valid Unicode: it holds half of a surrogate pair"),
    (LINE | {"tags": {"\ud83d": "a"}}, "a key of tags is not valid Unicode"),
    (LINE | {"\ud83d": 1}, r"the line has the unknown field '\ud83d'"),
    (LINE | {"language": 1.5}, "language must be text, not a number"),
    (LINE | {"tags": ["a"]}, "tags must be an object, not a list"),
    (LINE | {"tags": {"turns": True}}, "tags.turns must be text, not true or false"),
    (LINE | {"rewordings": []}, "rewordings must be an object, not a list"),
    (LINE | {"rewordings": {"poetry": "Verse"}}, "rewordings.poetry must be a list, not text"),
    (LINE | {"rewordings": {"poetry": [""]}}, "rewordings.poetry[0] is empty"),
    (LINE | {"rewordings": {"tax": ["Taxes"]}}, "the reworded policy 'tax' is not among its policies"),
]


@pytest.mark.parametrize(("line", "reason"), WRONG_LINES, ids=[reason for _, reason in WRONG_LINES])
def test_a_wrong_line_is_named(file: Path, line: object, reason: str) -> None:
    write(file, LINE, line)
    with pytest.raises(ExampleFileError) as raised:
        read_examples(file)
    assert raised.value.line == 2
    assert str(raised.value).startswith(f"{file}:2: ")
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{]\n", "is not JSON"),
        (b"\xff\xfe\n", "is not UTF-8 text"),
        (b"[" * 100_000 + b"\n", "is nested too deeply"),
        (b"9" * 5_000 + b"\n", "holds a number of more digits than can be read"),
    ],
)
def test_a_line_that_is_not_json_is_named(file: Path, content: bytes, reason: str) -> None:
    file.write_bytes(json.dumps(LINE).encode() + b"\n" + content)
    with pytest.raises(ExampleFileError, match=reason) as raised:
        read_examples(file)
    assert raised.value.line == 2


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_examples_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ExampleFileError, match="holds no examples"):
        read_examples(file)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ExampleFileError, match=r"examples\.jsonl: cannot be read: No such file"):
        read_examples(file)


def test_lines_are_read_one_by_one(file: Path) -> None:
    write(file, LINE, {"policies": []})
    assert next(iterate_examples(file)).expected == "poetry"


def test_errors_never_quote_the_conversation(file: Path) -> None:
    secret = [{"role": "user", "content": "my password is hunter2"}]
    write(file, LINE | {"messages": secret, "policy": "tax"})
    with pytest.raises(ExampleFileError) as raised:
        read_examples(file)
    assert "hunter2" not in str(raised.value)
