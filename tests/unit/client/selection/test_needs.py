from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute import Message, Model, Needs
from archroute.selection.needs import IMAGE_TOKENS, MESSAGE_TOKENS, needs_of

TEXT = {"type": "text", "text": "abcdef"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        (None, 0),
        ("", 0),
        ("a", 1),
        ("abc", 1),
        ("abcd", 2),
        ("日本語", 3),
        ((TEXT,), 2),
        ((TEXT, TEXT), 4),
        ((TEXT, IMAGE), 2 + IMAGE_TOKENS),
        (({"type": "text", "text": None}, {"type": "file"}), 0),
    ],
)
def test_the_length_is_estimated(content: Any, tokens: int) -> None:
    found = needs_of((Message("user", content), Message("user", None)))
    assert found.input_tokens == tokens + 2 * MESSAGE_TOKENS


@pytest.mark.parametrize("kind", ["image_url", "input_image", "image"])
def test_an_image_needs_vision(kind: str) -> None:
    assert needs_of((Message("user", ({"type": kind},)),)).vision
    assert not needs_of((Message("user", (TEXT,)),)).vision


@pytest.mark.parametrize("role", ["tool", "function"])
def test_a_tools_result_needs_tools(role: str) -> None:
    assert needs_of((Message(role, "42"),)).tools
    assert not needs_of((Message("user", "42"),)).tools


@pytest.mark.parametrize("ability", ["vision", "tools", "json_mode"])
def test_a_model_can_do_only_what_is_said_of_it(ability: str) -> None:
    needs = Needs(**{ability: True})
    assert not needs.are_met_by(Model("m"))
    assert needs.are_met_by(Model("m", **{ability: True}))


@pytest.mark.parametrize(("window", "fits"), [(None, True), (1_100, True), (1_099, False)])
def test_conversation_and_reply_must_fit_the_window(window: int | None, fits: bool) -> None:
    assert Needs(input_tokens=1_000, output_tokens=100).are_met_by(Model("m", context_window=window)) is fits


NEEDS = st.builds(
    Needs, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 100), st.integers(0, 100)
)
MODELS = st.builds(
    Model,
    st.just("m"),
    context_window=st.none() | st.integers(1, 200),
    vision=st.booleans(),
    tools=st.booleans(),
    json_mode=st.booleans(),
)


@given(NEEDS, NEEDS, MODELS)
def test_what_meets_two_needs_meets_each(one: Needs, other: Needs, model: Model) -> None:
    both = one.joined(other)
    assert both == other.joined(one)
    if both.are_met_by(model):
        assert one.are_met_by(model)
        assert other.are_met_by(model)
