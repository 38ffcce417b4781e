"""EngineCollector: what the engine counted, read when it is asked for."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from archroute_server.engine.admission import AdmissionStatistics
from archroute_server.engine.batcher import BatchStatistics
from archroute_server.engine.decision_cache import DecisionCacheStatistics
from archroute_server.engine.identity import Identity
from archroute_server.engine.prefix_cache import CacheStatistics
from archroute_server.engine.vitals import Vitals


class MeasuredEngine(Protocol):
    """What is read of an engine, by a thread that is not its own."""

    @property
    def identity(self) -> Identity:
        """What decides."""

    @property
    def admission_statistics(self) -> AdmissionStatistics:
        """Who was let in and turned away so far."""

    @property
    def prefix_statistics(self) -> CacheStatistics:
        """What the prefix cache did so far."""

    @property
    def batch_statistics(self) -> BatchStatistics:
        """What the model was run for so far."""

    @property
    def decision_statistics(self) -> DecisionCacheStatistics:
        """What the decision cache did so far."""

    @property
    def vitals(self) -> Vitals:
        """Whether the model runs."""


class EngineCollector(Collector):
    """Gives the statistics of the engine from `open` on, and nothing before.

    Its counters begin at 0 again with an engine that takes the place of another, as they do with a process.
    """

    def __init__(self) -> None:
        self._engine: MeasuredEngine | None = None

    def open(self, engine: MeasuredEngine) -> None:
        """Read the statistics of `engine` from now on."""
        self._engine = engine

    def describe(self) -> Iterator[Metric]:
        """Name nothing in advance: the names are this collector's alone."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the statistics."""
        engine = self._engine
        if engine is None:
            return
        yield _build_info(engine.identity)
        yield _provider_fallback(engine.identity)
        yield from _admission(engine.admission_statistics)
        yield from _queue(engine.batch_statistics)
        yield from _batches(engine.batch_statistics)
        yield from _vitals(engine.vitals)
        yield from _prefix_cache(engine.prefix_statistics)
        yield from _decision_cache(engine.decision_statistics)


def _build_info(identity: Identity) -> Metric:
    labels = {
        "version": version("archroute"),
        "bundle": identity.bundle_digest,
        "prompt_variant": identity.prompt_variant,
        "provider": identity.provider,
        "precision": identity.precision,
    }
    return InfoMetricFamily("archroute_build", "What decides.", value=labels)


def _provider_fallback(identity: Identity) -> Metric:
    return GaugeMetricFamily(
        "archroute_provider_fallback",
        "1 while the model runs on another provider than --provider auto prefers of those installed, else 0.",
        identity.preferred_provider is not None,
    )


def _admission(statistics: AdmissionStatistics) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "archroute_admitted_requests_under_way",
        "Requests that are being tokenized, wait, or are decided; --queue-requests bounds them.",
        statistics.requests,
    )
    yield GaugeMetricFamily(
        "archroute_admitted_tokens_under_way",
        "Tokens of requests that wait or are decided; --queue-tokens bounds them.",
        statistics.tokens,
    )
    yield CounterMetricFamily(
        "archroute_admitted_requests", "Requests that were let in to be decided.", statistics.admitted
    )
    refused = CounterMetricFamily(
        "archroute_refused_requests",
        "Requests that were not, since too many requests or tokens were under way, or since they would have "
        "been decided after their deadline, or after their decide-by: the last are answered by a fallback.",
        labels=("reason",),
    )
    refused.add_metric(("requests",), statistics.refused_by_requests)
    refused.add_metric(("tokens",), statistics.refused_by_tokens)
    refused.add_metric(("deadline",), statistics.deadlines_unreachable)
    refused.add_metric(("decide_by",), statistics.decide_bys_unreachable)
    yield refused


def _queue(statistics: BatchStatistics) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "archroute_queue_requests", "Requests that wait for the inference thread.", statistics.waiting
    )
    left = CounterMetricFamily(
        "archroute_queue_left_requests",
        "Requests that left the queue before the model was run for them: their caller gave up, or their time "
        "was over.",
        labels=("reason",),
    )
    left.add_metric(("cancelled",), statistics.cancelled)
    left.add_metric(("expired",), statistics.expired)
    yield left


def _batches(statistics: BatchStatistics) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "archroute_batches", "Runs of the model, for one request or several.", statistics.batches
    )
    yield CounterMetricFamily(
        "archroute_batch_requests", "Requests that were decided in them.", statistics.requests
    )
    yield CounterMetricFamily(
        "archroute_batch_tokens",
        "Tokens that the model read in them: new ones of prompts, those of answers, and padding.",
        statistics.tokens,
    )
    yield CounterMetricFamily(
        "archroute_forward_passes", "Forward passes that they took.", statistics.forward_passes
    )
    yield CounterMetricFamily(
        "archroute_failed_batches",
        "Runs for several requests that failed, which were then decided one by one.",
        statistics.failed_batches,
    )


def _vitals(vitals: Vitals) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "archroute_failed_runs",
        "Runs of the model that raised an error or gave no numbers, for one request or several.",
        vitals.failed_runs,
    )
    yield GaugeMetricFamily(
        "archroute_model_failures_in_a_row",
        "How many of the last runs failed; --unhealthy-after-failures bounds them.",
        vitals.failures_in_a_row,
    )
    yield GaugeMetricFamily(
        "archroute_model_stalled",
        "1 while a forward pass runs for longer than --forward-timeout-seconds, else 0.",
        vitals.stalled,
    )


def _prefix_cache(statistics: CacheStatistics) -> Iterator[Metric]:
    tokens = CounterMetricFamily(
        "archroute_prefix_cache_tokens", "Prompt tokens by whether they were cached.", labels=("result",)
    )
    tokens.add_metric(("hit",), statistics.tokens_hit)
    tokens.add_metric(("miss",), statistics.tokens_missed)
    yield tokens
    yield GaugeMetricFamily(
        "archroute_prefix_cache_bytes", "Keys and values that the cache holds.", statistics.held_bytes
    )
    yield GaugeMetricFamily(
        "archroute_prefix_cache_kept_bytes",
        "Those of them that belong to the server's policy sets and make room for nothing.",
        statistics.kept_bytes,
    )
    yield GaugeMetricFamily(
        "archroute_prefix_cache_unkept_policy_sets",
        "The server's policy sets that found no room to be kept, or are not read yet.",
        statistics.unkept,
    )
    yield GaugeMetricFamily(
        "archroute_prefix_cache_entries", "Runs of tokens that the cache holds.", statistics.nodes
    )
    yield CounterMetricFamily(
        "archroute_prefix_cache_evictions",
        "Entries that made room for others.",
        statistics.evictions,
    )
    yield CounterMetricFamily(
        "archroute_prefix_cache_copied_bytes",
        "Keys and values that were copied into, within and out of the cache.",
        statistics.copied_bytes,
    )


def _decision_cache(statistics: DecisionCacheStatistics) -> Iterator[Metric]:
    lookups = CounterMetricFamily(
        "archroute_decision_cache_lookups", "Questions to the cache by what came of them.", labels=("result",)
    )
    lookups.add_metric(("hit",), statistics.hits)
    lookups.add_metric(("miss",), statistics.misses)
    yield lookups
    yield GaugeMetricFamily(
        "archroute_decision_cache_entries",
        "Decisions that the cache held when it was last asked.",
        statistics.entries,
    )
