from collections.abc import Iterator

import pytest

from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.frame import ChatFrame, PromptHere, SpecialToken, Text
from archroute_server.router.policy import OTHER, PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from peers.case_making import CaseMaker, short_policies
from support.checkpoints import tiny_tokenizer
from workload import conversation, policies, read_dialogues

START, END = SpecialToken(1, "<|im_start|>"), SpecialToken(2, "<|im_end|>")
FRAME = ChatFrame(
    (START, Text("user\n"), PromptHere(), END, Text("\n"), START, Text("assistant\n")),
)


@pytest.fixture(scope="module")
def maker() -> Iterator[CaseMaker]:
    encoder = PromptEncoder(
        PromptVariant.load("archroute/compact"), FRAME, Tokenizer(tiny_tokenizer()), budget=4096
    )
    return CaseMaker(encoder, end_of_turn=2, reader=tiny_tokenizer())


def test_a_case_has_the_whole_prompts_as_text(maker: CaseMaker) -> None:
    conversations = [conversation(dialogue, 2) for dialogue in read_dialogues()[:3]]
    case = maker.case("a case", policies(3), conversations)
    for request, messages in zip(case.requests, conversations, strict=True):
        assert request.prompt.startswith("<|im_start|>user\n- Banks_1.CheckBalance: ")
        assert request.prompt.endswith(f"user: {messages[-1].text}<|im_end|>\n<|im_start|>assistant\n")
        assert [message.text for message in request.messages] == [message.text for message in messages]
        assert [message.role for message in request.messages] == ["user", "assistant", "user"]
        assert 0 < case.prefix_tokens < request.tokens
    assert list(case.answers) == [*case.policies, OTHER]
    assert case.answers[OTHER] == '{"route": "other"}'


def test_the_work_behind_a_prompt_is_that_of_its_answers(maker: CaseMaker) -> None:
    conversations = [conversation(dialogue, 1) for dialogue in read_dialogues()[:2]]
    few, many = (maker.case("a case", short_policies(count), conversations) for count in (2, 20))
    assert 0 < few.branches < many.branches
    assert few.tree_tokens < many.tree_tokens


@pytest.mark.parametrize("tokens", [50, 400])
def test_a_long_message_is_as_long_as_asked_for(maker: CaseMaker, tokens: int) -> None:
    messages = [maker.long_message(tokens, index) for index in range(3)]
    texts = {message.text for (message,) in messages}
    assert len(texts) == 3
    count = Tokenizer(tiny_tokenizer()).count
    assert all(abs(count(text) - tokens) <= 1 for text in texts)


def test_short_policies_differ_by_name() -> None:
    chosen: PolicySet = short_policies(120)
    assert len({policy.name for policy in chosen.policies}) == 120
    assert all(len(policy.description.split()) <= 2 for policy in chosen.policies)
