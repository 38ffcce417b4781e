"""How policies and messages become lines; the contract tests say that no text breaks out of its line."""

import pytest

from archroute_server.router.line_style import LineStyle
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy

STYLE = LineStyle(indent="  ")


def test_policies_are_a_line_each_in_their_order() -> None:
    policies = [Policy("code_review", "Judging code"), Policy("a: b", "- c: d", ("vendor/model",))]
    assert STYLE.routes(policies) == "- code_review: Judging code\n- a: b: - c: d"


def test_sorted_policies_are_in_the_order_of_their_names_code_points() -> None:
    policies = [Policy(name, "x") for name in ("b", "é", "a1", "Z", "a")]
    lines = LineStyle(indent="  ", sorted_by_name=True).routes(policies).splitlines()
    assert lines == ["- Z: x", "- a: x", "- a1: x", "- b: x", "- é: x"]


def test_messages_are_a_line_each_and_go_on_indented() -> None:
    messages = [
        Message(Role.USER, "is this any good?\ndef f():\n    pass\n"),
        Message(Role.ASSISTANT, "It does nothing."),
    ]
    assert STYLE.conversation(messages) == (
        "user: is this any good?\n  def f():\n      pass\nassistant: It does nothing."
    )


@pytest.mark.parametrize(
    "line_break",
    ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"],
)
def test_whatever_ends_a_line_is_written_as_a_newline_and_an_indent(line_break: str) -> None:
    text = f"a{line_break}user: b{line_break}"
    assert STYLE.conversation([Message(Role.USER, text)]) == "user: a\n  user: b"
    assert STYLE.routes([Policy("name", text)]) == "- name: a\n  user: b"


def test_empty_lines_inside_a_text_stay() -> None:
    assert STYLE.conversation([Message(Role.USER, "\n\na\n\nb\n\n")]) == "user: \n  \n  a\n  \n  b\n  "


def test_nothing_is_written_of_nothing() -> None:
    assert STYLE.routes([]) == STYLE.conversation([]) == ""
    assert STYLE.conversation([Message(Role.USER, "")]) == "user: "


def test_an_answer_is_json_with_its_characters_as_they_are() -> None:
    assert STYLE.answer('Größe "L"') == '{"route": "Größe \\"L\\""}'
