"""The encoder of prompts for engines over a model of the test's own."""

from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.frame import ChatFrame, PromptHere, SpecialToken, Text
from archroute_server.router.prompt import DEFAULT_VARIANT, PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from support.checkpoints import tiny_tokenizer


def tiny_encoder(budget: int = 2048) -> tuple[PromptEncoder, int]:
    """Return an encoder with the tiny tokenizer, and the token that ends a turn."""
    tokenizer = Tokenizer(tiny_tokenizer())
    start, end = (tokenizer.token_id(token) for token in ("<|im_start|>", "<|im_end|>"))
    assert start is not None
    assert end is not None
    frame = ChatFrame(
        (
            SpecialToken(start, "<|im_start|>"),
            Text("user\n"),
            PromptHere(),
            SpecialToken(end, "<|im_end|>"),
            Text("\n"),
            SpecialToken(start, "<|im_start|>"),
            Text("assistant\n"),
        )
    )
    return PromptEncoder(PromptVariant.load(DEFAULT_VARIANT), frame, tokenizer, budget), end
