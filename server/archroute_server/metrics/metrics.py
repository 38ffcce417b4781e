"""Metrics: everything that a server counts, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics

from archroute_server.metrics.catalogue import CatalogueCollector
from archroute_server.metrics.engine import EngineCollector
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
        self.catalogue = CatalogueCollector()
        self.registry.register(self.catalogue)
        self._ready = Gauge(
            "archroute_ready", "1 while the server reports SERVING, else 0.", registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def watch_readiness(self, ready: Callable[[], bool]) -> None:
        """Ask `ready` for `archroute_ready` from now on; any thread may ask it."""
        self._ready.set_function(ready)
