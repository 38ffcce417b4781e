"""An engine over a model of the test's own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from archroute_server.engine.engine import Engine
from archroute_server.engine.identity import Identity
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.frame import ChatFrame, PromptHere, SpecialToken, Text
from archroute_server.router.prompt import DEFAULT_VARIANT, PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from support.checkpoints import tiny_tokenizer
from support.engine_calls import IDENTITY


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
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
    return PromptEncoder(PromptVariant.load(DEFAULT_VARIANT), frame, tokenizer, budget=2048)


@pytest.fixture
def open_engine(encoder: PromptEncoder) -> Callable[..., object]:
    @asynccontextmanager
    async def opened(
        model: Model,
        limits: Limits = Limits(),  # noqa: B008
        identity: Identity = IDENTITY,
    ) -> AsyncIterator[Engine]:
        end = encoder.tokenizer.token_id("<|im_end|>")
        assert end is not None
        engine = Engine(model, encoder, end, identity, limits)
        try:
            yield engine
        finally:
            await engine.close(grace=0)

    return opened
