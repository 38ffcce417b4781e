"""MetricsServer: where Prometheus finds the metrics."""

import socket
import threading
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

PATH = "/metrics"

# Until a connection that says nothing is closed; each holds a thread.
_PATIENCE_SECONDS = 10.0
_STOP_POLL_SECONDS = 0.05


class MetricsServer:
    """Serves a registry over HTTP, on threads of its own, from when it is made until `close`."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen on `host` and `port`; 0 takes a free one. Raises `OSError`."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name such as localhost is often both; every machine has the first.
        family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        server_class = _Server if family == socket.AF_INET else _Server6
        self._server = server_class((str(address[0]), port), _Handler.factory(registry))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a scrape under way may be cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingMixIn, TCPServer):
    # Not `http.server.HTTPServer`, which asks the resolver for the machine's name before it listens.
    allow_reuse_address = True
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(MetricsHandler):
    timeout = _PATIENCE_SECONDS

    def do_GET(self) -> None:  # noqa: N802 - named by the standard library
        if urlsplit(self.path).path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}")
            return
        super().do_GET()
