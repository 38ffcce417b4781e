"""What is held, and how the files were followed, as metrics."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from archroute_server.catalogue.statistics import CatalogueStatistics
from archroute_server.metrics.catalogue import CatalogueCollector
from archroute_server.router.policy_sets import PolicySets
from support.policy_files import policy_set
from support.scrape import read_registry

OF_FILE, STORED = policy_set("of file", 1), policy_set("stored", 2)


@dataclass
class Catalogue:
    current: PolicySets
    statistics: CatalogueStatistics


def test_nothing_is_said_of_a_catalogue_that_is_not_there() -> None:
    registry = CollectorRegistry()
    registry.register(CatalogueCollector())
    assert read_registry(registry).samples == {}


def test_every_number_has_its_name() -> None:
    statistics = CatalogueStatistics(applied=3, refused=2, failed=1, up_to_date=False, last_success=1.75e9)
    registry, collector = CollectorRegistry(), CatalogueCollector()
    registry.register(collector)
    collector.open(Catalogue(PolicySets([OF_FILE]).with_stored([STORED]), statistics))
    found = read_registry(registry)
    assert found.by("archroute_policy_set_info", "policy_set", "revision", "source") == {
        ("of file", OF_FILE.revision, "file"): 1,
        ("stored", STORED.revision, "store"): 1,
    }
    assert found.by("archroute_policy_reloads_total", "result") == {"applied": 3, "refused": 2, "failed": 1}
    assert found.value("archroute_policy_files_up_to_date") == 0
    assert "archroute_policy_files_up_to_date" in found.names()
    assert found.value("archroute_policy_last_reload_success_timestamp_seconds") == 1.75e9
