"""CatalogueCollector: which policy sets are held, and how the files were followed, read when asked for."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from archroute_server.catalogue.statistics import CatalogueStatistics, ReloadResult
from archroute_server.router.policy_sets import PolicySets


class MeasuredCatalogue(Protocol):
    """What is read of a catalogue, by a thread that is not its own."""

    @property
    def current(self) -> PolicySets:
        """The sets that are held."""

    @property
    def statistics(self) -> CatalogueStatistics:
        """How the files were followed so far."""


class CatalogueCollector(Collector):
    """Gives the statistics of the catalogue from `open` on, and nothing before."""

    def __init__(self) -> None:
        self._catalogue: MeasuredCatalogue | None = None

    def open(self, catalogue: MeasuredCatalogue) -> None:
        """Read the statistics of `catalogue` from now on."""
        self._catalogue = catalogue

    def describe(self) -> Iterator[Metric]:
        """Name nothing in advance: the names are this collector's alone."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the statistics."""
        catalogue = self._catalogue
        if catalogue is not None:
            yield _policy_sets(catalogue.current)
            yield from _files(catalogue.statistics)


def _policy_sets(held: PolicySets) -> Metric:
    info = InfoMetricFamily(
        "archroute_policy_set",
        "The policy sets that requests are decided by, with their revisions.",
        labels=("policy_set", "revision", "source"),
    )
    for name in held.names():
        labels = {
            "policy_set": name,
            "revision": held.get(name).revision,
            "source": "store" if held.is_stored(name) else "file",
        }
        info.add_metric((), labels)
    return info


def _files(statistics: CatalogueStatistics) -> Iterator[Metric]:
    reloads = CounterMetricFamily(
        "archroute_policy_reloads",
        "Changes of the policies files by what came of them: refused for a mistake, or failed, to be "
        "tried again.",
        labels=("result",),
    )
    reloads.add_metric((ReloadResult.APPLIED.value,), statistics.applied)
    reloads.add_metric((ReloadResult.REFUSED.value,), statistics.refused)
    reloads.add_metric((ReloadResult.FAILED.value,), statistics.failed)
    yield reloads
    yield GaugeMetricFamily(
        "archroute_policy_files_up_to_date",
        "1 while requests are decided by what is in the policies files, 0 since a change of them was "
        "refused or failed.",
        statistics.up_to_date,
    )
    yield GaugeMetricFamily(
        "archroute_policy_last_reload_success_timestamp_seconds",
        "When the policies files were last read and put to use, the start included, in seconds since 1970.",
        statistics.last_success,
    )
