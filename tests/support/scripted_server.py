"""The real service before a scripted engine: on a socket in plain text, and on one with TLS and a token."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import trustme
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.server import HEALTH_SERVICES
from archroute_server.rpc.service import RouterService
from archroute_server.rpc.servicer import RouterServicer
from archroute_server.rpc.status import Failure, StatusRule
from archroute_server.telemetry.access_log import AccessLog
from support.rpc_calls import MAX_MESSAGE_BYTES, STREAM_CONCURRENCY
from support.scripted_engine import Line, ScriptedEngine

TOKEN = "conformance-token"

_MISSING = StatusRule(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
_INVALID = StatusRule(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


@dataclass(frozen=True)
class ScriptedServer:
    """Where it listens, and what it was asked."""

    address: str
    tls_address: str
    ca: str
    """The authority of its certificate, which is for localhost, in PEM."""
    engine: ScriptedEngine


@contextmanager
def scripted_server(policy_sets: PolicySets, script: Iterable[Line]) -> Iterator[ScriptedServer]:
    """Serve from a thread, so that the caller may wait for a process that calls it."""
    ended = threading.Event()
    started: Future[ScriptedServer] = Future()
    engine = ScriptedEngine(script)
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(policy_sets, engine, started, ended)), name="scripted-server"
    )
    thread.start()
    try:
        yield started.result()
    finally:
        ended.set()
        thread.join()


async def _serve(
    policy_sets: PolicySets,
    engine: ScriptedEngine,
    started: "Future[ScriptedServer]",
    ended: threading.Event,
) -> None:
    service = RouterService(policy_sets)
    service.open(engine)
    authority = trustme.CA()
    plain, private = _server(service), _server(service, _RequireToken())
    port = plain.add_insecure_port("127.0.0.1:0")
    tls_port = private.add_secure_port("127.0.0.1:0", _credentials(authority.issue_cert("localhost")))
    for server in (plain, private):
        await server.start()
    ca = authority.cert_pem.bytes().decode()
    started.set_result(ScriptedServer(f"localhost:{port}", f"localhost:{tls_port}", ca, engine))
    await asyncio.to_thread(ended.wait)
    for server in (plain, private):
        await server.stop(None)


def _credentials(certificate: trustme.LeafCert) -> grpc.ServerCredentials:
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])


def _server(service: RouterService, *interceptors: grpc.aio.ServerInterceptor) -> grpc.aio.Server:
    server = grpc.aio.server(
        interceptors=interceptors,
        options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2 * MAX_MESSAGE_BYTES)),
    )
    servicer = RouterServicer(
        service,
        AccessLog(),
        max_message_bytes=MAX_MESSAGE_BYTES,
        stream_concurrency=STREAM_CONCURRENCY,
    )
    server.add_generic_rpc_handlers((servicer.handler(),))
    checks = health.HealthServicer()
    for name in HEALTH_SERVICES:
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(checks, server)
    return server


class _RequireToken(grpc.aio.ServerInterceptor):
    """Refuses calls of the service without the token; health checks need none."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        sent = dict(handler_call_details.invocation_metadata or ()).get("authorization")
        if sent == f"Bearer {TOKEN}" or "RouterService" not in handler_call_details.method:
            return handler
        failure = Failure(_MISSING if sent is None else _INVALID, "this call needs a token of this server's")

        async def refuse(_request: Any, context: Any) -> None:
            await failure.abort(context)

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(refuse)
        return grpc.unary_unary_rpc_method_handler(refuse)
