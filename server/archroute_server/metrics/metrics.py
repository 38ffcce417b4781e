"""Metrics: everything that a server counts, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics

from archroute_server.metrics.bundle_reloads import BundleReloadMetrics
from archroute_server.metrics.catalogue import CatalogueCollector
from archroute_server.metrics.engine import EngineCollector, MeasuredEngine
from archroute_server.metrics.reloads import ReloadCollector
from archroute_server.metrics.requests import RequestMetrics


class Metrics:
    """The metrics of one server, and of the process that it runs in."""

    def __init__(self) -> None:
        # When each counter was made is a series of its own beside it, and of no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = RequestMetrics(self.registry)
        self.engine = EngineCollector()
        self.registry.register(self.engine)
        self.reloads = ReloadCollector()
        self.registry.register(self.reloads)
        self.bundle_reloads = BundleReloadMetrics(self.registry)
        self.catalogue = CatalogueCollector()
        self.registry.register(self.catalogue)
        self._ready = Gauge(
            "archroute_ready", "1 while the server reports SERVING, else 0.", registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def open(self, engine: MeasuredEngine) -> None:
        """Read the statistics of `engine` from now on, which decides from now on."""
        self.engine.open(engine)
        self.bundle_reloads.bundle_changed()

    def watch_readiness(self, ready: Callable[[], bool]) -> None:
        """Ask `ready` for `archroute_ready` from now on; any thread may ask it."""
        self._ready.set_function(ready)
