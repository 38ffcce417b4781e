"""The signals that a server takes which runs in the test's own process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from archroute_server.lifecycle.signals import RELOAD_SIGNAL, STOP_SIGNALS


@contextmanager
def given_back() -> Iterator[None]:
    """Give them back when the block ends."""
    handlers = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, RELOAD_SIGNAL)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
