"""The engine's statistics as metrics."""

from prometheus_client import CollectorRegistry

from archroute_server.engine.admission import AdmissionStatistics
from archroute_server.engine.batcher import BatchStatistics
from archroute_server.engine.decision_cache import DecisionCacheStatistics
from archroute_server.engine.identity import Identity
from archroute_server.engine.prefix_cache import CacheStatistics
from archroute_server.engine.vitals import Vitals
from archroute_server.metrics.engine import EngineCollector
from support.fake_engine import FakeEngine
from support.scrape import read_registry


def test_nothing_is_said_of_an_engine_that_is_not_there() -> None:
    registry = CollectorRegistry()
    registry.register(EngineCollector())
    assert read_registry(registry).samples == {}


def test_every_number_has_its_name() -> None:
    engine = FakeEngine(Identity("sha256:ab", "arch-router/gateway", "cuda", 1.5, "fp16"))
    engine.admission_statistics = AdmissionStatistics(
        requests=31,
        tokens=32,
        admitted=33,
        refused_by_requests=34,
        refused_by_tokens=35,
        deadlines_unreachable=36,
        decide_bys_unreachable=37,
    )
    engine.batch_statistics = BatchStatistics(
        batches=2, requests=3, forward_passes=4, tokens=5, failed_batches=6, cancelled=8, expired=9, waiting=7
    )
    engine.prefix_statistics = CacheStatistics(
        tokens_hit=11,
        tokens_missed=12,
        evictions=13,
        copied_bytes=14,
        held_bytes=15,
        nodes=16,
        kept_bytes=17,
        unkept=18,
    )
    engine.decision_statistics = DecisionCacheStatistics(hits=21, misses=22, entries=23)
    engine.vitals = Vitals(failed_runs=41, failures_in_a_row=42, forward_seconds=43.0, stalled=True)
    registry = CollectorRegistry()
    collector = EngineCollector()
    registry.register(collector)
    collector.open(engine)
    found = read_registry(registry)
    (build,) = [dict(labels) for name, labels in found.samples if name == "archroute_build_info"]
    assert build.pop("version")
    assert build == {
        "bundle": "sha256:ab",
        "prompt_variant": "arch-router/gateway",
        "provider": "cuda",
        "precision": "fp16",
    }
    assert {name: value for (name, labels), value in found.samples.items() if not labels} == {
        "archroute_provider_fallback": 0,
        "archroute_admitted_requests_under_way": 31,
        "archroute_admitted_tokens_under_way": 32,
        "archroute_admitted_requests_total": 33,
        "archroute_batches_total": 2,
        "archroute_batch_requests_total": 3,
        "archroute_forward_passes_total": 4,
        "archroute_batch_tokens_total": 5,
        "archroute_failed_batches_total": 6,
        "archroute_queue_requests": 7,
        "archroute_failed_runs_total": 41,
        "archroute_model_failures_in_a_row": 42,
        "archroute_model_stalled": 1,
        "archroute_prefix_cache_evictions_total": 13,
        "archroute_prefix_cache_copied_bytes_total": 14,
        "archroute_prefix_cache_bytes": 15,
        "archroute_prefix_cache_entries": 16,
        "archroute_prefix_cache_kept_bytes": 17,
        "archroute_prefix_cache_unkept_policy_sets": 18,
        "archroute_decision_cache_entries": 23,
    }
    refused = {"requests": 34, "tokens": 35, "deadline": 36, "decide_by": 37}
    assert found.by("archroute_refused_requests_total", "reason") == refused
    assert found.by("archroute_queue_left_requests_total", "reason") == {"cancelled": 8, "expired": 9}
    assert found.by("archroute_prefix_cache_tokens_total", "result") == {"hit": 11, "miss": 12}
    assert found.by("archroute_decision_cache_lookups_total", "result") == {"hit": 21, "miss": 22}


def test_a_fallback_shows_until_another_engine_takes_over() -> None:
    registry = CollectorRegistry()
    collector = EngineCollector()
    registry.register(collector)
    fell_back = Identity("sha256:ab", "arch-router/gateway", "cpu", preferred_provider="cuda")
    for identity, expected in ((fell_back, 1), (Identity("sha256:cd", "arch-router/gateway", "cuda"), 0)):
        collector.open(FakeEngine(identity))
        assert read_registry(registry).samples["archroute_provider_fallback", frozenset()] == expected
