"""What a server process holds: memory, descriptors, threads, tasks, and requests under way."""

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.instrumented_server import EVENT, SECONDS_PER_PASS
from support.scrape import Scrape, scrape
from support.server_process import PATIENCE, ServerProcess, clean_environment, serving

SCRIPT = Path(__file__).with_name("instrumented_server.py")
# -P: the folder of the script is not for imports.
COMMAND = (sys.executable, "-P", SCRIPT, "serve")

ANY_PORT = "127.0.0.1:0"
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a process held at one moment."""

    tasks: int
    threads: int
    descriptors: int
    resident_bytes: int


@dataclass
class WatchedServer:
    """A server that is ready, its metrics, and what it holds."""

    process: ServerProcess
    address: str
    metrics_url: str

    def metrics(self) -> Scrape:
        """Look at the metrics."""
        return scrape(self.metrics_url)

    def holdings(self) -> Holdings:
        """Ask what the process holds. One caller at a time."""
        told = len(self.process.events(EVENT))
        self.process.process.send_signal(signal.SIGUSR1)
        line = self.process.wait_for(EVENT, told + 1)
        return Holdings(line["tasks"], line["threads"], line["descriptors"], line["resident_bytes"])

    def settled_holdings(self) -> Holdings:
        """Ask until two answers in a row have the same tasks, threads and descriptors."""
        seen: list[tuple[int, int, int]] = []

        def settled() -> bool:
            now = self.holdings()
            seen.append((now.tasks, now.threads, now.descriptors))
            return len(seen) > 1 and seen[-1] == seen[-2]

        wait_until(settled, "what the server holds does not settle")
        return self.holdings()

    def wait_until_idle(self) -> Scrape:
        """Wait until no request is under way or in the queue; return the metrics of that moment."""
        wait_until(lambda: under_way(self.metrics()) == (0, 0, 0), "requests are still under way")
        return self.metrics()

    def wait_until_released(self, before: Holdings) -> Holdings:
        """Wait until no more tasks, threads and descriptors are held than before; return what is then."""
        held = [before]

        def released() -> bool:
            now = self.holdings()
            held.append(now)
            return (
                now.tasks <= before.tasks
                and now.threads <= before.threads
                and now.descriptors <= before.descriptors
            )

        try:
            wait_until(released, f"more is held than {before}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {held[-1]}") from error
        return held[-1]


@contextmanager
def watched_server(
    *arguments: str | Path, seconds_per_pass: float = 0.0, variables: Mapping[str, str] | None = None
) -> Iterator[WatchedServer]:
    """Start a server that can be watched, and wait until it is ready."""
    environment = clean_environment({SECONDS_PER_PASS: str(seconds_per_pass), **(variables or {})})
    flags = ("--listen", ANY_PORT, "--metrics-listen", ANY_PORT)
    with serving(*arguments, *flags, command=COMMAND, environment=environment) as process:
        ready = process.wait_for("ready")
        (metrics,) = process.events("serving metrics")
        yield WatchedServer(process, ready["address"], f"http://{metrics['address']}{metrics['path']}")


def under_way(metrics: Scrape) -> tuple[float, float, float]:
    """Return the requests and tokens that were admitted and are not answered, and the queue's length."""
    return (
        metrics.value("archroute_admitted_requests_under_way"),
        metrics.value("archroute_admitted_tokens_under_way"),
        metrics.value("archroute_queue_requests"),
    )


def requests_by_code(metrics: Scrape) -> Counter[str]:
    """Return how many requests ended with each code so far."""
    counted: Counter[str] = Counter()
    labels = ("code", "method", "reason", "outcome")
    for (code, *_), requests in metrics.by("archroute_requests_total", *labels).items():
        counted[code] += int(requests)
    return counted


def wait_until(holds: Callable[[], bool], complaint: str, patience: float = PATIENCE) -> None:
    """Ask again and again until it holds; fail with the complaint if it never does."""
    pause = threading.Event()
    for _ in range(int(patience / POLL_SECONDS)):
        if holds():
            return
        pause.wait(POLL_SECONDS)
    raise AssertionError(complaint)
