from dataclasses import dataclass
from datetime import UTC, datetime

from archroute_server.access.reloading import ReloadStatistics
from archroute_server.metrics.metrics import Metrics
from support.scrape import read_registry

EXPIRES = datetime(2027, 1, 2, tzinfo=UTC)


@dataclass
class Files:
    statistics: ReloadStatistics


def test_reloads_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    certificate = Files(ReloadStatistics(loaded=3, failed=1, successful=False))
    metrics.reloads.watch({"certificate": certificate}, lambda: EXPIRES)
    found = read_registry(metrics.registry)
    assert found.by("archroute_reloads_total", "what", "result") == {
        ("certificate", "ok"): 3,
        ("certificate", "failed"): 1,
    }
    assert found.value("archroute_last_reload_successful", what="certificate") == 0
    assert "archroute_last_reload_successful" in found.names()
    assert found.value("archroute_certificate_expiry_timestamp_seconds") == EXPIRES.timestamp()


def test_without_a_certificate_there_is_no_date() -> None:
    found = read_registry(Metrics().registry)
    assert "archroute_certificate_expiry_timestamp_seconds" not in found.names()
