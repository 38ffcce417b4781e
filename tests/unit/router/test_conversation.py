"""What of a conversation the model reads, seen through the prompts that come out."""

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.router.conversation import (
    CHARACTERS_PER_TOKEN,
    COUNTED_CHARACTERS,
    MAX_MESSAGES,
    TextEnds,
)
from archroute_server.router.encoder import EncodedPrompt, PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.line_style import LineStyle
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import PolicySet
from archroute_server.router.tokenizer import Tokenizer

MakeEncoder = Callable[..., PromptEncoder]


def user(text: str) -> Message:
    return Message(Role.USER, text)


def assistant(text: str) -> Message:
    return Message(Role.ASSISTANT, text)


def conversation_in(encoder: PromptEncoder, encoded: EncodedPrompt) -> list[tuple[str, str]]:
    """Read role and content of the messages back out of a prompt's tokens."""
    assert len(encoded.token_ids) <= encoder.budget
    text = encoder.tokenizer.decode(encoded.token_ids)
    if isinstance(encoder.variant.style, LineStyle):
        return _messages_in_lines(text)
    found = re.search(r"\n<conversation>\n+(\[.*\])\n+</conversation>\n", text, re.DOTALL)
    assert found
    return [(message["role"], message["content"]) for message in json.loads(found[1])]


def _messages_in_lines(text: str) -> list[tuple[str, str]]:
    found = re.search(
        r"\n- other: none of the above(?: \"other\")?\n\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n",
        text,
        re.DOTALL,
    )
    assert found
    records = re.split(r"\n(?!  )", found[1])
    parts = (record.replace("\n  ", "\n").partition(": ") for record in records)
    return [(role, content) for role, _, content in parts]


def as_read(encoder: PromptEncoder, text: str) -> str:
    """Return what the prompt says that a text is: lines have one kind of line break, and none at the end."""
    return "\n".join(text.splitlines()) if isinstance(encoder.variant.style, LineStyle) else text


def test_a_conversation_that_fits_is_read_whole(make_encoder: MakeEncoder, policies: PolicySet) -> None:
    encoder = make_encoder(room=500)
    encoded = encoder.encode(policies, [user("fix it"), assistant("what?"), user('the bug\nin "code"')])
    assert conversation_in(encoder, encoded) == [
        ("user", "fix it"), ("assistant", "what?"), ("user", 'the bug\nin "code"'),
    ]  # fmt: skip
    assert (encoded.dropped_messages, encoded.dropped_tokens) == (0, 0)


def test_only_user_and_assistant_messages_with_text_are_read(
    make_encoder: MakeEncoder, policies: PolicySet
) -> None:
    encoder = make_encoder(room=500)
    messages = [
        Message(Role.SYSTEM, "be kind"),
        Message(Role.DEVELOPER, "be brief"),
        user(""),
        user("fix it"),
        assistant(" \n"),
        Message(Role.TOOL, "42"),
    ]
    encoded = encoder.encode(policies, messages)
    assert conversation_in(encoder, encoded) == [("user", "fix it")]
    # They are not read at all, so they were not cut to fit.
    assert (encoded.dropped_messages, encoded.dropped_tokens) == (0, 0)


def test_at_most_sixteen_messages_are_read(
    make_encoder: MakeEncoder, policies: PolicySet, tokenizer: Tokenizer
) -> None:
    encoder = make_encoder(room=2000)
    messages = [(user if index % 2 else assistant)(f"turn {index}") for index in range(20)]
    encoded = encoder.encode(policies, messages)
    assert [content for _, content in conversation_in(encoder, encoded)] == [
        f"turn {index}" for index in range(4, 20)
    ]
    assert encoded.dropped_messages == 20 - MAX_MESSAGES
    assert encoded.dropped_tokens == sum(tokenizer.count(f"turn {index}") for index in range(4))


def test_the_oldest_messages_go_first_and_are_counted(
    make_encoder: MakeEncoder, policies: PolicySet, tokenizer: Tokenizer
) -> None:
    encoder = make_encoder(room=200)
    messages = [
        (assistant if index % 2 else user)(f"{index} the quick brown fox " * 4) for index in range(13)
    ]
    encoded = encoder.encode(policies, messages)
    kept = [content for _, content in conversation_in(encoder, encoded)]
    dropped = len(messages) - len(kept)
    assert 0 < dropped < 12
    assert kept == [message.text for message in messages[dropped:]]
    assert encoded.dropped_messages == dropped
    assert encoded.dropped_tokens == sum(tokenizer.count(message.text) for message in messages[:dropped])
    # One more would not have fitted.
    more = encoder.variant.render(policies.policies, messages[dropped - 1 :])
    assert len(encoder.frame.encode(more, tokenizer)) > encoder.budget


def test_a_message_that_does_not_fit_hides_the_older_ones(
    make_encoder: MakeEncoder, policies: PolicySet
) -> None:
    """A gap in the middle of a conversation would make an answer look like one to another question."""
    encoder = make_encoder(room=200)
    messages = [user("first"), assistant("the quick brown fox " * 200), user("second"), assistant("third")]
    encoded = encoder.encode(policies, messages)
    assert conversation_in(encoder, encoded) == [("user", "second"), ("assistant", "third")]
    assert encoded.dropped_messages == 2


@pytest.mark.parametrize("answers", [1, 20])
def test_the_newest_user_message_is_kept_before_what_follows_it(
    make_encoder: MakeEncoder, policies: PolicySet, answers: int
) -> None:
    encoder = make_encoder(room=200)
    messages = [user("old"), user("fix it"), *[assistant("the quick brown fox " * 200)] * answers]
    encoded = encoder.encode(policies, messages)
    assert conversation_in(encoder, encoded) == [("user", "fix it")]
    assert encoded.dropped_messages == answers + 1


def test_the_newest_user_message_is_read_even_before_sixteen_others(
    make_encoder: MakeEncoder, policies: PolicySet
) -> None:
    encoder = make_encoder(room=2000)
    messages = [user("fix it"), *[assistant(f"step {index}") for index in range(30)]]
    contents = [content for _, content in conversation_in(encoder, encoder.encode(policies, messages))]
    assert contents == ["fix it", *[f"step {index}" for index in range(15, 30)]]


# Cutting a user message that is too long by itself.

WORDS = " ".join(f"word{index}" for index in range(5000))
LONG_TEXTS = {
    "words": WORDS,
    "one word": "a" * 40_000,
    "lines": "line\n" * 8000,
    "quotes": '"\\' * 8000,
    "emoji": "🚀" * 8000,
    "spaces": " " * 30_000 + "end",
    "english then emoji": WORDS[:20_000] + "🚀" * 8000,
    "dense middle": WORDS[:600] + "🚀" * 8000 + WORDS[-600:],
    "combining": "e\u0301" * 8000,
    "tags": "</routes><conversation>" * 2000,
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS.keys())
@pytest.mark.parametrize("room", [64, 300, 1000])
def test_a_message_too_long_by_itself_keeps_its_ends(
    make_encoder: MakeEncoder, policies: PolicySet, text: str, room: int
) -> None:
    encoder = make_encoder(room)
    encoded = encoder.encode(policies, [user("older"), user(text)])
    ((role, content),) = conversation_in(encoder, encoded)
    head, ellipsis, tail = content.partition("…")
    assert (role, ellipsis) == ("user", "…")
    if "\u0301" not in text:  # which the tokenizer may have composed
        assert text.startswith(head)
        assert as_read(encoder, text).endswith(tail)
    assert encoded.dropped_messages == 1
    assert encoded.dropped_tokens > 0


@pytest.mark.parametrize("name", ["words", "one word", "lines", "quotes", "emoji"])
@pytest.mark.parametrize("room", [300, 1000])
def test_the_budget_is_used_three_fifths_for_the_head_and_two_for_the_tail(
    make_encoder: MakeEncoder, policies: PolicySet, tokenizer: Tokenizer, name: str, room: int
) -> None:
    encoder = make_encoder(room)
    encoded = encoder.encode(policies, [user(LONG_TEXTS[name])])
    ((_, content),) = conversation_in(encoder, encoded)
    head, _, tail = content.partition("…")
    share = tokenizer.count(head) / (tokenizer.count(head) + tokenizer.count(tail))
    assert share == pytest.approx(0.6, abs=0.05)
    assert len(encoded.token_ids) > encoder.budget - room * 0.05


@given(text=st.text(st.sampled_from("ab 🚀é\u0301日"), min_size=1, max_size=40), window=st.integers(1, 30))
def test_a_cut_never_repeats_text_and_keeps_more_of_it_for_more_tokens(
    tokenizer: Tokenizer, text: str, window: int
) -> None:
    ends = TextEnds.of(text, tokenizer, window)
    cuts = [ends.cut(kept) for kept in range(ends.tokens + 1)]
    assert cuts[0] == (0, len(text))
    assert all(0 <= begin <= end <= len(text) for begin, end in cuts)
    for (begin, end), (next_begin, next_end) in pairwise(cuts):
        assert begin <= next_begin
        assert next_end <= max(end, next_begin)


def test_the_tokens_of_a_cut_text_are_counted(
    make_encoder: MakeEncoder, policies: PolicySet, tokenizer: Tokenizer
) -> None:
    encoder = make_encoder(room=300)
    text = WORDS[:8000]
    older = assistant("the quick brown fox")
    encoded = encoder.encode(policies, [older, user(text)])
    ((_, content),) = conversation_in(encoder, encoded)
    head, _, tail = content.partition("…")
    gap = text.removeprefix(head).removesuffix(tail)
    assert len(gap) < COUNTED_CHARACTERS
    assert encoded.dropped_tokens == tokenizer.count(gap) + tokenizer.count(older.text)


def test_the_tokens_of_a_long_gap_are_estimated(
    make_encoder: MakeEncoder, policies: PolicySet, tokenizer: Tokenizer
) -> None:
    text = "the quick brown fox " * 20_000
    encoded = make_encoder(room=300).encode(policies, [user(text)])
    assert encoded.dropped_tokens == pytest.approx(tokenizer.count(text), rel=0.02)


class CountingTokenizer(Tokenizer):
    """Counts how often it is called and how many characters it reads."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        super().__init__(inner)
        self.calls = self.characters = 0

    def _note(self, text: str) -> None:
        self.calls += 1
        self.characters += len(text)

    def encode(self, text: str) -> list[int]:
        self._note(text)
        return super().encode(text)

    def count(self, text: str) -> int:
        self._note(text)
        return super().count(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        self._note(text)
        return super().spans(text)


@pytest.mark.parametrize(
    "text",
    ["the quick brown fox ", "a", "🚀", "x\n", '"'],
    ids=["words", "letter", "emoji", "lines", "quotes"],
)
@pytest.mark.parametrize("turns", [1, 5, 100])
def test_the_work_is_bounded_however_long_the_conversation(
    make_encoder: MakeEncoder,
    policies: PolicySet,
    serialized_tokenizer: str,
    text: str,
    turns: int,
) -> None:
    work = []
    for size in (500_000, 1_000_000):
        counting = CountingTokenizer(tokenizers.Tokenizer.from_str(serialized_tokenizer))
        encoder = make_encoder(room=500, tokenizer=counting)
        encoder.room(policies)
        counting.calls = counting.characters = 0
        messages = [user(text * (size // len(text) // turns))] * turns
        encoded = encoder.encode(policies, messages)
        assert len(encoded.token_ids) <= encoder.budget
        # The frame's special tokens part a prompt into three texts.
        assert counting.calls <= 3 * (10 + 3 + MAX_MESSAGES)
        work.append(counting.characters)
    assert max(work) < 200_000
    if turns < 100:  # longer texts are no more work
        assert work[1] == pytest.approx(work[0], rel=0.1)


pieces = st.sampled_from(
    [
        "the quick brown fox ",
        "word",
        "\n",
        " ",
        '"',
        "\\",
        "🚀",
        "e\u0301",
        "</routes>",
        "<|im_end|>",
        "…",
        "日本",
    ]
)
texts = st.tuples(st.lists(pieces | st.text(max_size=6), max_size=6).map("".join), st.integers(1, 80)).map(
    lambda pair: pair[0] * pair[1]
)
messages_strategy = st.lists(st.builds(Message, st.sampled_from(list(Role)), texts), max_size=24)


@settings(max_examples=60)
@given(messages=messages_strategy, newest=texts.filter(str.strip), room=st.integers(64, 800))
def test_every_prompt_is_within_its_budget_and_holds_the_newest_user_message(
    make_encoder: MakeEncoder, policies: PolicySet, messages: Sequence[Message], newest: str, room: int
) -> None:
    encoder = make_encoder(room)
    encoded = encoder.encode(policies, [*messages, user(newest)])
    read = conversation_in(encoder, encoded)
    role, content = read[-1]
    assert role == "user"
    if len(read) > 1:  # nothing was cut out of it, then
        written = as_read(encoder, newest)
        assert content in (written, encoder.tokenizer.decode(encoder.tokenizer.encode(written)))
    readable = [
        message
        for message in [*messages, user(newest)]
        if message.role in (Role.USER, Role.ASSISTANT) and message.text.strip()
    ]
    assert [role for role, _ in read] == [message.role.value for message in readable[-len(read) :]]
    assert encoded.dropped_messages == len(readable) - len(read)
    assert encoded.dropped_tokens >= encoded.dropped_messages


# What cannot be decided.


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "is empty; send"),
        (
            [Message(Role.SYSTEM, "a"), Message(Role.TOOL, "b"), Message(Role.SYSTEM, "c")],
            "holds only system and tool messages, which the router does not read; send",
        ),
        ([Message(Role.SYSTEM, "a"), assistant("b")], "holds no user message; send"),
        ([user(""), user(" \n"), assistant("b")], "holds no user message with text; send"),
    ],
)
def test_without_a_user_message_there_is_nothing_to_decide(
    make_encoder: MakeEncoder, policies: PolicySet, messages: list[Message], reason: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_encoder(room=100).encode(policies, messages)
    (violation,) = caught.value.violations
    assert violation.field == "messages"
    assert violation.description == f"{reason} at least one user message with text"


def test_lone_surrogates_are_refused_without_quoting_the_text(
    make_encoder: MakeEncoder, policies: PolicySet
) -> None:
    messages = [user("fine"), user("secret \ud83d"), Message(Role.TOOL, "\ud83d"), assistant("\udfff")]
    with pytest.raises(InvalidRequest) as caught:
        make_encoder(room=100).encode(policies, messages)
    assert [violation.field for violation in caught.value.violations] == ["messages[1]", "messages[3]"]
    assert "secret" not in str(caught.value)


def test_a_text_at_the_characters_limit_is_still_tokenized(
    make_encoder: MakeEncoder, policies: PolicySet
) -> None:
    """The guard against huge texts lets through whatever could fit."""
    encoder = make_encoder(room=64)
    text = "fix it" + " " * (64 * CHARACTERS_PER_TOKEN - 6)
    assert encoder.tokenizer.count(text) > 64
    ((_, content),) = conversation_in(encoder, encoder.encode(policies, [user(text)]))
    assert content.startswith("fix it")
