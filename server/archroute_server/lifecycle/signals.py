"""Signals: SIGTERM and SIGINT stop the server, a second one ends it at once, SIGHUP reloads."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from archroute_server.telemetry.logging import log_event

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RELOAD_SIGNAL = signal.SIGHUP

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What signals asked for so far. Whoever reloads clears `reload` first, so that no signal is lost."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)


@contextmanager
def handled_signals() -> Iterator[Told]:
    """Handle the signals while the block runs, and give the events that they set."""
    loop = asyncio.get_running_loop()
    told = Told()
    before = signal.getsignal(RELOAD_SIGNAL)

    def stop(number: signal.Signals) -> None:
        if told.stop.is_set():  # two of them came before either was handled
            end_at_once(number, None)
        told.stop.set()
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, end_at_once)
        # Last, since whoever reads it may send the next one.
        log_event(_logger, logging.INFO, "stopping", signal=number.name)

    def reload() -> None:
        if told.stop.is_set():
            log_event(_logger, logging.INFO, "not reloading, since the server is stopping")
            return
        log_event(_logger, logging.INFO, "reloading", signal=RELOAD_SIGNAL.name)
        told.reload.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    # To the end of the block, since by default this signal ends a process.
    loop.add_signal_handler(RELOAD_SIGNAL, reload)
    try:
        yield told
    finally:
        loop.remove_signal_handler(RELOAD_SIGNAL)
        signal.signal(RELOAD_SIGNAL, before)
        if not told.stop.is_set():
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """End the process with status 128 + `number`, as shells have it for a process that a signal ended.

    The default action would do so too, but not for the first process of a container.
    """
    os._exit(128 + number)
