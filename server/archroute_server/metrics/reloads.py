"""ReloadCollector: files that are read again while the server runs, and when its certificate expires."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from archroute_server.access.reloading import ReloadStatistics


class ReloadedFiles(Protocol):
    """What is counted, by a thread that is not its own."""

    @property
    def statistics(self) -> ReloadStatistics:
        """How often the files were read again."""


class ReloadCollector(Collector):
    """Gives the counts of the files that it was told to watch; any thread may collect."""

    def __init__(self) -> None:
        self._files: Mapping[str, ReloadedFiles] = {}
        self._expires: Callable[[], datetime | None] = lambda: None

    def watch(self, files: Mapping[str, ReloadedFiles], expires: Callable[[], datetime | None]) -> None:
        """Give the statistics of these files, by what they are, and when the certificate expires if any."""
        self._files = files
        self._expires = expires

    def collect(self) -> Iterator[Metric]:
        """Ask for the counts."""
        reloads = CounterMetricFamily(
            "archroute_reloads",
            "Files that were read again because they had changed, by whether they could be used. If not, the "
            "old contents go on.",
            labels=("what", "result"),
        )
        successful = GaugeMetricFamily(
            "archroute_last_reload_successful",
            "1 while the newest contents of the files are in use, 0 while they cannot be.",
            labels=("what",),
        )
        for what, files in self._files.items():
            statistics = files.statistics
            reloads.add_metric((what, "ok"), statistics.loaded)
            reloads.add_metric((what, "failed"), statistics.failed)
            successful.add_metric((what,), statistics.successful)
        yield reloads
        yield successful
        if (expires := self._expires()) is not None:
            yield GaugeMetricFamily(
                "archroute_certificate_expiry_timestamp_seconds",
                "When the certificate of the server expires, in seconds since 1970.",
                expires.timestamp(),
            )
