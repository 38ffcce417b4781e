"""The gRPC server: the services, health and reflection on one address."""

import asyncio
import contextlib
import math

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from archroute_server.access.control import AccessControl
from archroute_server.rpc.access import AccessInterceptor
from archroute_server.rpc.address import Address, AddressUnavailable
from archroute_server.rpc.credentials import ReloadableCredentials
from archroute_server.rpc.policy_set_service import PolicySetService
from archroute_server.rpc.service import RouterService
from archroute_server.rpc.servicer import POLICY_SET_SERVICE_NAME, SERVICE_NAME, RouterServicer
from archroute_server.rpc.wire import GRPC_LIMIT_FACTOR
from archroute_server.telemetry.access_log import AccessLog

# "" stands for the server as a whole.
HEALTH_SERVICES = ("", SERVICE_NAME, POLICY_SET_SERVICE_NAME)

# What the last answers get to be sent in once everything that decides is over, and those who watch the health
# after it. Calls that gRPC itself has to end are told CANCELLED.
LAST_ANSWERS_SECONDS = 3.0
LAST_WORDS_SECONDS = 1.0
# Who is told UNAVAILABLE comes again soon on the same connection: archroute's client after some 20 ms, then
# 60 (`archroute.retries`). To be told the same again it must find gRPC running, so that stops once no call
# has been under way for so long.
QUIET_SECONDS = 0.25

_CHANNEL_OPTIONS = (
    # With it, a second server on the same port would bind silently and take half of the calls.
    ("grpc.so_reuseport", 0),
    # Find connections that died without a word, and let callers do the same, idle ones too.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class RpcServer:
    """A gRPC server whose health is SERVING between `open_for_calls` and `close_for_calls` or `drain`."""

    def __init__(
        self,
        service: RouterService,
        policy_sets: PolicySetService,
        access_log: AccessLog,
        *,
        max_message_bytes: int,
        stream_concurrency: int,
        access: AccessControl | None = None,
        max_connection_seconds: float = math.inf,
    ) -> None:
        """Let in whom `access` lets in; without it, everyone to what needs no token.

        A connection is closed after `max_connection_seconds`, once the calls on it are over.
        """
        self._service = service
        self._serving = False
        self._servicer = RouterServicer(
            service,
            policy_sets,
            access_log,
            max_message_bytes=max_message_bytes,
            stream_concurrency=stream_concurrency,
        )
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=(AccessInterceptor(access or AccessControl(), access_log),),
            options=(
                *_CHANNEL_OPTIONS,
                ("grpc.max_receive_message_length", max_message_bytes * GRPC_LIMIT_FACTOR),
                *_connection_age(max_connection_seconds),
            ),
        )
        self._server.add_generic_rpc_handlers(self._servicer.handlers())
        add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE_NAME, POLICY_SET_SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self._server,
        )

    @property
    def serving(self) -> bool:
        """Whether health checks are answered with SERVING; any thread may ask."""
        return self._serving

    async def start(
        self,
        address: Address,
        credentials: ReloadableCredentials | None = None,
        *,
        allow_plaintext: bool = False,
    ) -> Address:
        """Listen on `address` and answer health checks; return it with the port that was taken.

        Without `credentials` there is no TLS, and only this machine may call unless `allow_plaintext` is set.
        Raises `AddressUnavailable`, `PortInUse` and `PlaintextRefused` among them.
        """
        if credentials is None and not allow_plaintext:
            address.check_local()
        address.check_available()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(str(address))
            else:
                port = self._server.add_secure_port(str(address), credentials.for_server)
        except RuntimeError as error:
            raise AddressUnavailable(f"cannot listen on {address}: {error}") from error
        await self._server.start()
        return address.with_port(port)

    async def open_for_calls(self) -> None:
        """Report SERVING."""
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def close_for_calls(self) -> None:
        """Report NOT_SERVING, and go on answering those who call all the same."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def announce_stop(self) -> None:
        """Report NOT_SERVING for good, and go on answering until `drain`."""
        self._serving = False
        await self._health.enter_graceful_shutdown()

    async def drain(self, seconds: float) -> None:
        """Report NOT_SERVING, refuse new calls, and wait at most `seconds` for those under way.

        The address stays open meanwhile, so that a new call is told UNAVAILABLE: once gRPC itself stops, what
        arrives on an old connection can be told CANCELLED, which callers take for their own doing.
        """
        await self.announce_stop()
        self._service.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._servicer.idle()

    async def stop(self) -> None:
        """Send the last answers, end what is left, such as watchers of the health, and close the address."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                await self._servicer.quiet(QUIET_SECONDS)
        await self._server.stop(LAST_WORDS_SECONDS)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        self._serving = status == health_pb2.HealthCheckResponse.SERVING
        for name in HEALTH_SERVICES:
            await self._health.set(name, status)


def _connection_age(seconds: float) -> tuple[tuple[str, int], ...]:
    if math.isinf(seconds):
        return ()
    # gRPC keeps it in 32 bits, the greatest of which is no limit to it.
    return (("grpc.max_connection_age_ms", min(max(round(seconds * 1000), 1), 2**31 - 1)),)
