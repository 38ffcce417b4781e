"""The real service before a scripted engine: on a socket in plain text, and on one with TLS and a token."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import trustme
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from archroute_server.access.bearer_token import BearerToken, token_digest
from archroute_server.access.control import AccessControl
from archroute_server.access.limits import UNLIMITED
from archroute_server.access.rules import UNRESTRICTED, AccessRules
from archroute_server.access.scope import Scope
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.access import AccessInterceptor
from archroute_server.rpc.policy_set_service import PolicySetService
from archroute_server.rpc.server import HEALTH_SERVICES
from archroute_server.rpc.service import RouterService
from archroute_server.rpc.servicer import RouterServicer
from archroute_server.telemetry.access_log import AccessLog
from support.rpc_calls import MAX_MESSAGE_BYTES, STREAM_CONCURRENCY, new_services
from support.scripted_engine import Line, ScriptedEngine

TOKEN = "conformance-token"

WITH_TOKEN = AccessRules(
    frozenset({Scope.HEALTH}),
    tokens=(BearerToken("gateway", token_digest(TOKEN), frozenset(Scope), UNLIMITED),),
)


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
    service, policy_set_service = new_services(policy_sets)
    service.open(engine)
    authority = trustme.CA()
    plain = await _server(service, policy_set_service, UNRESTRICTED)
    private = await _server(service, policy_set_service, WITH_TOKEN)
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


async def _server(
    service: RouterService, policy_set_service: PolicySetService, rules: AccessRules
) -> grpc.aio.Server:
    access_log = AccessLog()
    server = grpc.aio.server(
        interceptors=(AccessInterceptor(AccessControl(rules), access_log),),
        options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2 * MAX_MESSAGE_BYTES)),
    )
    servicer = RouterServicer(
        service,
        policy_set_service,
        access_log,
        max_message_bytes=MAX_MESSAGE_BYTES,
        stream_concurrency=STREAM_CONCURRENCY,
    )
    server.add_generic_rpc_handlers(servicer.handlers())
    checks = health.aio.HealthServicer()
    for name in HEALTH_SERVICES:
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(checks, server)
    return server
