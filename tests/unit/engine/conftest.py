"""An engine over a model of the test's own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from archroute_server.engine.engine import Engine
from archroute_server.engine.identity import Identity
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.router.encoder import PromptEncoder
from support.engine_calls import IDENTITY
from support.tiny_encoder import special_token, tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return tiny_encoder()


@pytest.fixture
def open_engine(encoder: PromptEncoder) -> Callable[..., object]:
    @asynccontextmanager
    async def opened(
        model: Model,
        limits: Limits = Limits(),  # noqa: B008
        identity: Identity = IDENTITY,
    ) -> AsyncIterator[Engine]:
        engine = Engine(model, encoder, special_token(encoder.tokenizer, "<|im_end|>"), identity, limits)
        try:
            yield engine
        finally:
            await engine.close(grace=0)

    return opened
