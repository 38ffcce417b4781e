"""The life of a server: settings -> policies -> listen -> engine -> warm -> serve -> drain."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from archroute.commands import CommandError
from archroute_server.access.access_file import AccessFileError
from archroute_server.access.certificates import CertificateError, CertificateFiles
from archroute_server.access.reloading import LOOK_SECONDS
from archroute_server.bundle.errors import BundleError
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.catalogue.errors import PolicyStoreError, UnservablePolicySet
from archroute_server.catalogue.watching import watch
from archroute_server.config import Settings
from archroute_server.embedded import EmbeddedModelError, embedded_bundle
from archroute_server.engine.limits import Limits
from archroute_server.engine.loading import load_engine
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.lifecycle.background import background
from archroute_server.lifecycle.reload import BundleReload, Sources
from archroute_server.lifecycle.reloading import reload_when_asked
from archroute_server.lifecycle.served_engine import LAST_PASS_SECONDS, CurrentEngine, ServedEngine
from archroute_server.lifecycle.signals import handled_signals
from archroute_server.lifecycle.starting import Prepare, start_engine
from archroute_server.lifecycle.supervisor import ModelHangs, Supervisor
from archroute_server.lifecycle.threads import leave
from archroute_server.lifecycle.warm_up import ModelUnusable, warm_up
from archroute_server.metrics.http_server import PATH as METRICS_PATH
from archroute_server.metrics.http_server import MetricsServer
from archroute_server.metrics.metrics import Metrics
from archroute_server.router.policy_file import PolicyFileError
from archroute_server.rpc.address import Address, AddressUnavailable
from archroute_server.rpc.admin import AdminGate
from archroute_server.rpc.policy_set_service import PolicySetService
from archroute_server.rpc.protection import Protection
from archroute_server.rpc.server import RpcServer
from archroute_server.rpc.service import RouterService
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.telemetry.access_log import AccessLog
from archroute_server.telemetry.logging import configure_logging, log_event, log_unhandled
from archroute_server.telemetry.open_tracing import open_tracing
from archroute_server.telemetry.tracing import Tracing, TracingUnavailable

EXIT_MODEL_HANGS = 70
"""The exit status after a forward pass that did not end: EX_SOFTWARE of sysexits.h."""

_logger = logging.getLogger(__name__)

T = TypeVar("T")

LoadEngine = Callable[[Path, Settings], ServedEngine]
FindBundle = Callable[[], Coroutine[Any, Any, Path]]

# What a person can put right; the messages say how. Anything else is a defect and keeps its traceback.
STARTUP_ERRORS = (
    AccessFileError,
    AddressUnavailable,
    BundleError,
    CertificateError,
    EmbeddedModelError,
    ModelUnusable,
    PolicyFileError,
    PolicyStoreError,
    RuntimeLoadError,
    SelfTestFailed,
    TracingUnavailable,
    UnservablePolicySet,
)


def serve(settings: Settings) -> int:
    """Run a server until it is told to stop; return the exit status. Raises `CommandError`."""
    configure_logging(settings.log_format, settings.log_level, exception_messages=settings.log_message_text)
    try:
        asyncio.run(Application(settings).run())
    except STARTUP_ERRORS as error:
        raise CommandError(str(error)) from error
    except ModelHangs as error:
        log_event(_logger, logging.ERROR, "ended: the model hangs", reason=str(error))
        return leave(EXIT_MODEL_HANGS)
    return leave(0)


def load_served_engine(folder: Path, settings: Settings) -> ServedEngine:
    """Load the bundle in `folder`; blocks for as long as reading the weights takes."""
    return load_engine(
        folder,
        provider=settings.provider,
        threads=settings.threads,
        max_prompt_tokens=settings.max_prompt_tokens,
        limits=Limits(
            tree_tokens=settings.tree_tokens,
            batch_requests=settings.batch_requests,
            batch_tokens=settings.batch_tokens,
            queue_requests=settings.queue_requests,
            queue_tokens=settings.queue_tokens,
            prefix_cache_bytes=settings.prefix_cache_mib * 1024 * 1024,
            decision_cache_entries=settings.decision_cache_entries,
            decision_cache_seconds=settings.decision_cache_seconds,
            forward_timeout=settings.forward_timeout_seconds or math.inf,
        ),
        self_test=settings.self_test,
        engine_cache=settings.engine_cache,
    )


class Application:
    """One server, from its settings to its end."""

    def __init__(
        self,
        settings: Settings,
        *,
        load_engine: LoadEngine = load_served_engine,
        find_bundle: FindBundle = embedded_bundle,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Look every `look_seconds` whether certificates and access rules have changed."""
        self._settings = settings
        self._look_seconds = look_seconds
        self._load_engine = load_engine
        self._find_bundle = find_bundle

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. Raises the `STARTUP_ERRORS`, and `ModelHangs`.

        Metrics can be read from the beginning to the end.
        """
        metrics = Metrics()
        tracing = open_tracing(traces=self._settings.traces)
        try:
            with published(metrics, self._settings.metrics_listen):
                catalogue = PolicyCatalogue.open(self._settings.policies, self._settings.policy_store)
                try:
                    await self._run(metrics, tracing, catalogue)
                finally:
                    await catalogue.close()
        finally:
            await asyncio.to_thread(tracing.close)

    async def _run(self, metrics: Metrics, tracing: Tracing, catalogue: PolicyCatalogue) -> None:
        """Serve, count and trace.

        The address is taken before the model is loaded: a taken port is known at once, and health checks
        are answered from the beginning.
        """
        began = time.perf_counter()
        settings = self._settings
        asyncio.get_running_loop().set_exception_handler(log_unhandled)
        metrics.catalogue.open(catalogue)
        protection = _protection(settings)
        service = RouterService(catalogue, max_deadline=settings.max_deadline_seconds)
        server = RpcServer(
            service,
            PolicySetService(catalogue, AdminGate(allowed=settings.allow_admin), service.stopping),
            AccessLog(
                message_text=settings.log_message_text, observe=metrics.requests.observe, tracing=tracing
            ),
            max_message_bytes=settings.max_message_bytes,
            stream_concurrency=settings.stream_concurrency,
            access=protection.access,
            max_connection_seconds=settings.max_connection_seconds or math.inf,
        )
        metrics.reloads.watch(protection.files, protection.certificate_expiry)
        metrics.watch_readiness(lambda: server.serving)
        address = await server.start(
            settings.listen, protection.credentials, allow_plaintext=settings.allow_plaintext
        )
        log_event(
            _logger, logging.INFO, "listening, not ready yet", address=str(address), tls=protection.tls.value
        )
        current: CurrentEngine | None = None
        with handled_signals() as told:
            try:
                prepare = partial(warm_up, catalogue=catalogue, self_test=settings.self_test)
                engine = await _unless(told.stop, self._start_engine(prepare))
                if engine is not None:
                    current = CurrentEngine(engine, service.open, metrics.open)
                    await server.open_for_calls()
                    _log_ready(engine, address, catalogue, began)
                    # What SIGHUP does, in this order.
                    reloads = (
                        protection.reload,
                        catalogue.reload,
                        self._bundle_reload(current, prepare, metrics).run,
                    )
                    async with background(
                        protection.keep_current(self._look_seconds),
                        watch(catalogue.path, catalogue.reload),
                        reload_when_asked(told.reload, reloads),
                    ):
                        await _unless(told.stop, self._supervisor(current, server).run())
                    await server.announce_stop()
                    await asyncio.sleep(settings.drain_delay_seconds)
            finally:
                await server.drain(settings.drain_seconds)
                if current is not None:
                    # Whoever still waits is told UNAVAILABLE, which is worth more than a broken connection.
                    await current.engine.close(grace=0, patience=LAST_PASS_SECONDS)
                await server.stop()
        log_event(_logger, logging.INFO, "stopped")

    async def _start_engine(self, prepare: Prepare) -> ServedEngine:
        """Load the model, test it and warm it up."""
        folder = await self._bundle_folder()
        log_event(_logger, logging.INFO, "loading the model", folder=str(folder))
        return await start_engine(lambda: self._load_engine(folder, self._settings), prepare)

    async def _bundle_folder(self) -> Path:
        """Return where the bundle is; resolved, so that a link that is turned meanwhile does not mix two."""
        return (self._settings.model or await self._find_bundle()).resolve()

    def _supervisor(self, current: CurrentEngine, server: RpcServer) -> Supervisor:
        return Supervisor(
            current,
            server,
            failures=self._settings.unhealthy_after_failures,
            forward_timeout=self._settings.forward_timeout_seconds or math.inf,
        )

    def _bundle_reload(self, current: CurrentEngine, prepare: Prepare, metrics: Metrics) -> BundleReload:
        settings = self._settings
        return BundleReload(
            current,
            Sources(self._bundle_folder, lambda folder: self._load_engine(folder, settings), prepare),
            prefix_cache_bytes=settings.prefix_cache_mib * 2**20,
            close_seconds=settings.max_deadline_seconds,
            observe=metrics.bundle_reloads.count,
        )


def _protection(settings: Settings) -> Protection:
    certificates = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        certificates = CertificateFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return Protection(certificates, settings.access)


def _log_ready(engine: ServedEngine, address: Address, catalogue: PolicyCatalogue, began: float) -> None:
    log_event(
        _logger,
        logging.INFO,
        "ready",
        address=str(address),
        policy_sets=catalogue.current.names(),
        provider=engine.identity.provider,
        prompt_variant=engine.identity.prompt_variant,
        bundle=engine.identity.bundle_digest,
        seconds=round(time.perf_counter() - began, 3),
    )


@contextmanager
def published(metrics: Metrics, address: Address | None) -> Iterator[None]:
    """Serve the metrics at `address`, if there is one, while the block runs. Raises `AddressUnavailable`."""
    if address is None:
        yield
        return
    address.check_available("--metrics-listen")
    try:
        server = MetricsServer(metrics.registry, address.host, address.port)
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {address}: {error.strerror or error}") from error
    with closing(server):
        taken = address.with_port(server.port)
        log_event(_logger, logging.INFO, "serving metrics", address=str(taken), path=METRICS_PATH)
        yield


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns, or None if `stop` is set first; the work is then cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
