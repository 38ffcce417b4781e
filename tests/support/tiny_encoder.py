"""Prompts in the tokens of a tiny tokenizer."""

from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.frame import ChatFrame, PromptHere, SpecialToken, Text
from archroute_server.router.prompt import DEFAULT_VARIANT, PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from support.checkpoints import tiny_tokenizer


def tiny_encoder(budget: int = 2048) -> PromptEncoder:
    """Encode as the model card has it, in a frame of user and assistant."""
    tokenizer = Tokenizer(tiny_tokenizer())
    start, end = special_token(tokenizer, "<|im_start|>"), special_token(tokenizer, "<|im_end|>")
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
    return PromptEncoder(PromptVariant.load(DEFAULT_VARIANT), frame, tokenizer, budget)


def special_token(tokenizer: Tokenizer, text: str) -> int:
    """The id of a special token that there is."""
    found = tokenizer.token_id(text)
    assert found is not None
    return found
