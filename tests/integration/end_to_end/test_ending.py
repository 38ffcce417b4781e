"""The statuses that a server process ends with when it does not end as it should."""

import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archroute import Router, UnavailableError
from support.server_process import PATIENCE, serving

LISTEN = ("--listen", "127.0.0.1:0")

# `archroute serve`, whose forward passes do not end any more once a file is there.
HANGING = """
import pathlib, sys, threading
from archroute.cli import main
from archroute_server.runtime.session import Session

run = Session.run

def hang(session, forward, past):
    if pathlib.Path(sys.argv[1]).exists():
        print('{"event": "hanging"}', file=sys.stderr, flush=True)
        threading.Event().wait()
    return run(session, forward, past)

Session.run = hang
sys.exit(main(["serve", *sys.argv[2:]]))
"""


@pytest.fixture
def hung(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "hung"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize(("second", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(bundle: Path, second: signal.Signals, status: int) -> None:
    with serving("--model", bundle, *LISTEN, "--drain-delay-seconds", "3600") as server:
        server.wait_for("ready")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping")
        assert server.stop(second) == status
    assert not server.events("stopped")


def test_a_signal_to_reload_does_not_end_a_server_that_stops(bundle: Path) -> None:
    with serving("--model", bundle, *LISTEN, "--drain-delay-seconds", "3600") as server:
        server.wait_for("ready")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("not reloading, since the server is stopping")
        assert server.stop() == 143


def test_a_model_that_hangs_ends_it_with_a_status_of_its_own(bundle: Path, hung: Path) -> None:
    with hanging(bundle, hung, "--forward-timeout-seconds", "2") as server, Router(server.address) as router:
        server.wait_for("ready")
        assert router.route("Hello", policies=POLICIES, timeout=PATIENCE).outcome
        hung.touch()
        with pytest.raises(UnavailableError):
            router.route("Hello again", policies=POLICIES, timeout=PATIENCE)
        assert server.process.wait(PATIENCE) == 70
    assert server.events("not serving: a forward pass hangs")
    (ended,) = server.events("ended: the model hangs")
    assert "--forward-timeout-seconds allows 2" in ended["reason"]
    assert "Traceback" not in server.log


def test_a_model_that_hangs_does_not_hold_up_a_stop(
    bundle: Path, hung: Path, pool: ThreadPoolExecutor
) -> None:
    with hanging(bundle, hung, "--drain-seconds", "0") as server, Router(server.address) as router:
        server.wait_for("ready")
        hung.touch()
        call = pool.submit(router.route, "Hello", policies=POLICIES, timeout=PATIENCE)
        server.wait_for("hanging")
        assert server.stop() == 0
        with pytest.raises(UnavailableError):
            call.result(PATIENCE)
    assert server.events("stopped")


POLICIES = [{"name": "a", "description": "Anything"}]


def hanging(bundle: Path, hung: Path, *arguments: str):  # type: ignore[no-untyped-def]
    command = (sys.executable, "-c", HANGING, str(hung))
    return serving("--model", bundle, *LISTEN, *arguments, command=command)
