"""BundleReloadMetrics: what came of the reloads of the bundle, and since when the one that decides does."""

from prometheus_client import CollectorRegistry, Counter, Gauge

# At 0 from the start: a rate needs a first value.
RESULTS = ("done", "unchanged", "too_little_memory", "failed")


class BundleReloadMetrics:
    """Counts reloads. May be told of them by one thread while others read the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "archroute_bundle_reloads",
            "Reloads of the bundle by what came of them: done, unchanged, too_little_memory for two models "
            "beside each other, or failed. All but done leave everything as it was.",
            ("result",),
            registry=registry,
        )
        for result in RESULTS:
            self._reloads.labels(result)
        self._since = Gauge(
            "archroute_bundle_serving_since_timestamp_seconds",
            "When the bundle that archroute_build_info names began to decide, in Unix time; 0 before.",
            registry=registry,
        )

    def count(self, result: str) -> None:
        """Count a reload."""
        self._reloads.labels(result).inc()

    def bundle_changed(self) -> None:
        """Note that another bundle decides from now on."""
        self._since.set_to_current_time()
