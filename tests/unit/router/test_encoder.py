from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, takewhile

import pytest

from archroute_server.router.encoder import MIN_ROOM, PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.frame import ChatFrame, ChatFrameError, PromptHere, SpecialToken
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer

QUESTION = [Message(Role.USER, "fix it")]

MakeEncoder = Callable[..., PromptEncoder]


def test_the_prompt_is_the_rendered_one_in_its_frame(
    make_encoder: MakeEncoder, policies: PolicySet, variant: PromptVariant, tokenizer: Tokenizer
) -> None:
    encoded = make_encoder(room=100).encode(policies, QUESTION)
    prompt = variant.render(policies.policies, QUESTION)
    assert tokenizer.decode(encoded.token_ids) == (
        f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_policies_are_part_of_the_budget(make_encoder: MakeEncoder, policies: PolicySet) -> None:
    encoder = make_encoder(room=100)
    assert encoder.room(policies) == 100
    fewer = PolicySet("fewer", policies.policies[:1])
    assert encoder.room(fewer) > 100


def test_policies_that_leave_no_room_are_refused_whatever_the_conversation(
    make_encoder: MakeEncoder, policies: PolicySet
) -> None:
    make_encoder(MIN_ROOM).encode(policies, QUESTION)
    encoder = make_encoder(MIN_ROOM - 10)
    for messages in (QUESTION, []):
        with pytest.raises(InvalidRequest) as caught:
            encoder.encode(policies, messages)
        (violation,) = caught.value.violations
        assert violation.field == "policies"
        limit = encoder.budget - MIN_ROOM
        assert violation.description == (
            f"take {limit + 10} tokens of the prompt, 10 more than the {limit} that it has for them and its "
            "instructions. Use fewer policies or shorter descriptions"
        )


def test_five_hundred_long_policies_are_refused_without_tokenizing_them(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(room=500)
    huge = PolicySet("", tuple(Policy(f"policy_{index}", "word " * 800) for index in range(500)))
    monkeypatch.setattr(Tokenizer, "encode", lambda self, text: pytest.fail("tokenized"))
    with pytest.raises(InvalidRequest, match=r"policies: take \d{7} characters, .* Use fewer policies"):
        encoder.encode(huge, QUESTION)


def test_the_room_of_a_policy_set_is_measured_once(
    make_encoder: MakeEncoder, policies: PolicySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(room=500)
    room = encoder.room(policies)
    monkeypatch.setattr(Tokenizer, "encode", lambda self, text: pytest.fail("tokenized"))
    assert encoder.room(PolicySet("same policies, other name", policies.policies)) == room


def test_of_many_policy_sets_the_recently_used_are_remembered(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(room=500)
    encode, texts = Tokenizer.encode, []

    def noting_encode(self: Tokenizer, text: str) -> list[int]:
        texts.append(text)
        return encode(self, text)

    monkeypatch.setattr(Tokenizer, "encode", noting_encode)
    used, unused = (PolicySet("", (Policy(name, "What it covers"),)) for name in ("recurring", "forgotten"))
    rooms = encoder.room(used), encoder.room(unused)
    for index in range(300):
        encoder.room(PolicySet("", (Policy(f"policy_{index}", "What it covers"),)))
        encoder.room(used)
    assert (encoder.room(used), encoder.room(unused)) == rooms
    assert sum("recurring" in text for text in texts) == 1
    assert sum("forgotten" in text for text in texts) == 2


def test_a_later_turn_begins_with_what_is_reusable(
    make_encoder: MakeEncoder, policies: PolicySet, variant: PromptVariant, tokenizer: Tokenizer
) -> None:
    encoder = make_encoder(room=500)
    turns = [
        Message(Role.USER, "fix the bug in this code:\n\ndef f(): pass\n"),
        Message(Role.ASSISTANT, "It does nothing."),
        Message(Role.USER, "is it any good?"),
        Message(Role.ASSISTANT, "no"),
        Message(Role.USER, "why?"),
    ]
    prompts = [encoder.encode(policies, turns[:count]) for count in (1, 3, 5)]
    for earlier, later in pairwise(prompts):
        alike = (one == other for one, other in zip(earlier.token_ids, later.token_ids, strict=False))
        shared = sum(takewhile(bool, alike))
        # The end of the newest message may be one token with what closes it, and so may its quote.
        assert earlier.reusable - 2 <= shared <= earlier.reusable
    # What is not reusable is the same in every prompt.
    endings = {tuple(prompt.token_ids[prompt.reusable :]) for prompt in prompts}
    assert len(endings) == 1
    (ending,) = endings
    written = tokenizer.decode(ending)
    assert written.endswith(f"{variant.after_conversation}<|im_end|>\n<|im_start|>assistant\n")


def test_threads_share_an_encoder(make_encoder: MakeEncoder, policies: PolicySet) -> None:
    encoder = make_encoder(room=500)
    expected = encoder.encode(policies, QUESTION)
    with ThreadPoolExecutor(4) as threads:
        assert all(
            encoded == expected
            for encoded in threads.map(lambda _: encoder.encode(policies, QUESTION), range(32))
        )


def test_a_frame_of_another_tokenizer_is_refused(variant: PromptVariant, tokenizer: Tokenizer) -> None:
    frame = ChatFrame((PromptHere(), SpecialToken(5, "<|im_end|>")))
    with pytest.raises(ChatFrameError, match="not of the same checkpoint"):
        PromptEncoder(variant, frame, tokenizer, budget=1000)
