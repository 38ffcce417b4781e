import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute import InvalidRequestError, Message
from archroute.message import ROLES, to_messages
from archroute.v1 import router_pb2

TEXT = st.text(st.characters(codec="utf-8"))
PART = st.one_of(
    TEXT.map(lambda text: {"type": "text", "text": text}),
    st.just({"type": "image_url", "image_url": {"url": "https://example.test/cat.png"}}),
)
CONTENT = st.one_of(st.none(), TEXT, st.lists(PART))


def texts(content: Any) -> list[str | None]:
    """What of a content must arrive: None stands for a part that is not text."""
    if content is None:
        return []
    return [content] if isinstance(content, str) else [part.get("text") for part in content]


@given(st.lists(st.tuples(st.sampled_from(sorted(ROLES)), CONTENT)))
def test_messages_survive_the_wire(conversation: list[tuple[str, Any]]) -> None:
    dicts = to_messages([{"role": role, "content": content} for role, content in conversation])
    assert dicts == to_messages([Message(role, content) for role, content in conversation])
    read = router_pb2.RouteRequest.FromString(
        router_pb2.RouteRequest(messages=dicts).SerializeToString()
    ).messages
    assert [message.role for message in read] == [ROLES[role] for role, _ in conversation]
    assert [[part.text if part.HasField("text") else None for part in message.parts] for message in read] == [
        texts(content) for _, content in conversation
    ]


def test_every_role_but_unspecified_can_be_written() -> None:
    assert set(ROLES.values()) == set(router_pb2.Role.values()) - {router_pb2.ROLE_UNSPECIFIED}
    assert ROLES["function"] == ROLES["tool"]


def test_a_string_is_one_user_message() -> None:
    assert to_messages("hello") == to_messages([{"role": "user", "content": "hello"}])


def test_other_keys_of_a_message_are_left_out() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}], "name": "bot"}
    assert to_messages([called]) == [router_pb2.Message(role=router_pb2.ROLE_ASSISTANT)]
    assert to_messages([{"role": "assistant", "tool_calls": []}]) == to_messages([called])


@pytest.mark.parametrize("kind", ["text", "input_text", "output_text"])
def test_the_text_parts_of_both_openai_apis_are_text(kind: str) -> None:
    [message] = to_messages([{"role": "user", "content": [{"type": kind, "text": "hello"}]}])
    assert [part.text for part in message.parts] == ["hello"]


OK = {"role": "user", "content": "fine"}


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        (None, "messages"),
        (7, "messages"),
        (b"bytes", "messages[0]"),
        (OK, "messages"),
        (Message("user", "not in a list"), "messages"),
        ([OK, "text"], "messages[1]"),
        ([OK, None], "messages[1]"),
        ([OK, {"content": "x"}], "messages[1].role"),
        ([{"role": None, "content": "x"}], "messages[0].role"),
        ([{"role": "User", "content": "x"}], "messages[0].role"),
        ([{"role": "", "content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": b"x"}], "messages[0].content"),
        ([{"role": "user", "content": {"type": "text", "text": "x"}}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"text": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([OK, OK, {"role": "user", "content": "half \ud83d of a pair"}], "messages[2].content"),
        ([{"role": "user", "content": [{"type": "text", "text": "\udcff"}]}], "messages[0].content[0].text"),
        ("\udcff", "messages[0].content"),
    ],
)
def test_what_cannot_be_sent_is_named(messages: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_messages(messages)
    [violation] = caught.value.field_violations
    assert violation.field == field
    assert str(caught.value) == f"{field}: {violation.description}"
    assert caught.value.code is None


def test_a_wrong_role_is_shown_with_those_that_are_right() -> None:
    with pytest.raises(InvalidRequestError, match=r"unknown role 'assistent'; use one of system, developer"):
        to_messages([{"role": "assistent", "content": "x"}])


def test_a_lone_surrogate_is_placed_and_explained() -> None:
    with pytest.raises(InvalidRequestError, match=r"U\+DC80 at character 4; decode the bytes"):
        to_messages([{"role": "user", "content": "caf\xe9\udc80"}])


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "the secret \udc80"},
        {"role": "user", "content": ["the secret"]},
        {"role": "user", "content": {"the secret": 1}},
        {"role": "someone swapped role and content of the secret", "content": "user"},
        ["the secret"],
    ],
)
def test_no_conversation_ends_up_in_a_traceback(message: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_messages([message])
    assert "secret" not in "".join(traceback.format_exception(caught.value))
