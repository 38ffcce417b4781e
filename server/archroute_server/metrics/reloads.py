"""ReloadMetrics: what came of the reloads, and since when the bundle decides that does."""

from prometheus_client import CollectorRegistry, Counter, Gauge

BUNDLE = "bundle"
# At 0 from the start: a rate needs a first value.
BUNDLE_RESULTS = ("done", "unchanged", "too_little_memory", "failed")


class ReloadMetrics:
    """Counts reloads. May be told of them by one thread while others read the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "archroute_reloads",
            "Reloads by what was to be reloaded and what came of it: done, unchanged, too_little_memory for "
            "two models beside each other, or failed. All but done leave everything as it was.",
            ("what", "result"),
            registry=registry,
        )
        for result in BUNDLE_RESULTS:
            self._reloads.labels(BUNDLE, result)
        self._since = Gauge(
            "archroute_bundle_serving_since_timestamp_seconds",
            "When the bundle that archroute_build_info names began to decide, in Unix time; 0 before.",
            registry=registry,
        )

    def count(self, what: str, result: str) -> None:
        """Count a reload, such as of the `BUNDLE`."""
        self._reloads.labels(what, result).inc()

    def bundle_changed(self) -> None:
        """Note that another engine decides from now on."""
        self._since.set_to_current_time()
