"""Certificates on gRPC, replaced while the server goes on."""

import threading

import grpc

from archroute_server.access.certificates import Certificates


class ReloadableCredentials:
    """TLS credentials of a server. Connections that are made after `replace` are shown the new certificate.

    Those that are open stay as they are, since TLS checks a certificate only when a connection is made.
    """

    def __init__(self, certificates: Certificates) -> None:
        self._lock = threading.Lock()
        self._new: grpc.ServerCertificateConfiguration | None = None
        self.for_server: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            _configuration(certificates),
            # It may say that nothing is new, whatever the type hints of the package say.
            self._take_new,  # type: ignore[arg-type]
            require_client_authentication=certificates.client_authorities is not None,
        )

    def replace(self, certificates: Certificates) -> None:
        """Use `certificates` from the next connection on. Whether callers need one of their own stays."""
        with self._lock:
            self._new = _configuration(certificates)

    def _take_new(self) -> grpc.ServerCertificateConfiguration | None:
        """Answer gRPC, which asks at each new connection, on its own threads. None: nothing is new."""
        with self._lock:
            new, self._new = self._new, None
            return new


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificates.key, certificates.chain)], root_certificates=certificates.client_authorities
    )
