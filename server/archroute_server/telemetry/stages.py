"""Stages: what a decision goes through, told to whoever watches it while it happens.

The engine tells; it knows nothing of traces. Who watches is a context variable, since it belongs to the
request and to none of the layers between the call and the engine.

    admission ── tokenize ── queue ── prefix_cache ── forward ── settle ── decide
    └────────── event loop and tokenizing thread ───┴──── inference thread ────┴─ event loop
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum


class Stage(Enum):
    """One part of the way from a conversation to its decision."""

    ADMISSION = "admission"
    """Whether there is room, and time, for the request."""
    TOKENIZE = "tokenize"
    """From a conversation to its tokens."""
    QUEUE = "queue"
    """The wait for the inference thread, or for an equal request that it runs for."""
    PREFIX_CACHE = "prefix_cache"
    """Finding the keys and values of the prompt's first tokens, and joining them."""
    FORWARD = "forward"
    """Running the model: the new tokens of the prompt, and the answers behind it."""
    SETTLE = "settle"
    """Keeping the keys and values that are worth it for later prompts."""
    DECIDE = "decide"
    """From probabilities to a policy."""


@dataclass(frozen=True, slots=True)
class StageRun:
    """A stage that one request went through. Times are of `time.perf_counter`, in seconds."""

    stage: Stage
    started: float
    ended: float
    facts: Mapping[str, int] = field(default_factory=dict)
    """Counts, such as those of tokens. Never text."""
    error: str = ""
    """The name of the exception's type, if the stage ended with one."""


StageObserver = Callable[[StageRun], None]
"""Is told of each stage at its end, by the thread that it ran on. Must not raise."""


def unobserved(_run: StageRun) -> None:
    """Take no notice."""


_observer: ContextVar[StageObserver] = ContextVar("stage_observer", default=unobserved)


def stage_observer() -> StageObserver:
    """Return who is told of the stages of what runs in this context."""
    return _observer.get()


@contextmanager
def observing(observer: StageObserver) -> Iterator[None]:
    """Tell `observer` of the stages of what is decided in the block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextmanager
def observed(stage: Stage, observers: Sequence[StageObserver]) -> Iterator[dict[str, int]]:
    """Tell `observers` that the block was `stage`, whether it returns or raises.

    Gives the facts of the stage, for the block to add to. Requests that share a run share its stages.
    """
    facts: dict[str, int] = {}
    error = ""
    started = time.perf_counter()
    try:
        yield facts
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        run = StageRun(stage, started, time.perf_counter(), facts, error)
        for observer in observers:
            observer(run)
