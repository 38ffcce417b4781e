"""What the benchmarks share: the embedded model, and real dialogues."""

import asyncio
from collections.abc import Iterator

import pytest

from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.embedded import embedded_bundle
from archroute_server.engine.engine import Engine
from archroute_server.engine.loading import load_engine, open_encoder
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.message import Message
from workload import read_dialogues


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The embedded model's bundle; it is built if the user's cache has none."""
    return open_bundle(asyncio.run(embedded_bundle()))


@pytest.fixture(scope="session")
def encoder(bundle: Bundle) -> PromptEncoder:
    return open_encoder(bundle, max_prompt_tokens=4096)


@pytest.fixture(scope="session")
def dialogues() -> list[list[Message]]:
    return read_dialogues()


@pytest.fixture(scope="session")
def event_loop_runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def engine(bundle: Bundle, event_loop_runner: asyncio.Runner) -> Iterator[Engine]:
    loaded = load_engine(bundle.folder, provider="cpu", threads=0, max_prompt_tokens=4096)
    yield loaded
    event_loop_runner.run(loaded.close(0))
