"""The life of a server: settings -> policies -> listen -> engine -> warm -> serve -> drain."""

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from archroute.commands import CommandError
from archroute_server.bundle.errors import BundleError
from archroute_server.config import Settings
from archroute_server.embedded import EmbeddedModelError, embedded_bundle
from archroute_server.engine.limits import Limits
from archroute_server.engine.loading import load_engine
from archroute_server.metrics.engine import MeasuredEngine
from archroute_server.metrics.http_server import PATH as METRICS_PATH
from archroute_server.metrics.http_server import MetricsServer
from archroute_server.metrics.metrics import Metrics
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_file import PolicyFileError, load_policy_sets
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.address import Address, AddressUnavailable
from archroute_server.rpc.server import RpcServer
from archroute_server.rpc.service import DecidingEngine, RouterService
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.telemetry.access_log import AccessLog
from archroute_server.telemetry.logging import configure_logging, log_event, log_unhandled
from archroute_server.telemetry.tracing import Tracing, TracingUnavailable, open_tracing

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_WARM_UP_POLICIES = PolicySet("", (Policy("warm_up", "Requests that check whether the model runs."),))
_WARM_UP_MESSAGES = (Message(Role.USER, "Does the model run?"),)

_logger = logging.getLogger(__name__)


class ServedEngine(DecidingEngine, MeasuredEngine, Protocol):
    """An engine that the application owns."""

    async def close(self, grace: float) -> None:
        """Stop deciding; see `archroute_server.engine.engine.Engine.close`."""


T = TypeVar("T")

LoadEngine = Callable[[Path, Settings], ServedEngine]
FindBundle = Callable[[], Coroutine[Any, Any, Path]]


class UnservablePolicySet(Exception):
    """A policy set that no request could be decided with; the message names it and says why."""


# What a person can put right; the messages say how. Anything else is a defect and keeps its traceback.
STARTUP_ERRORS = (
    AddressUnavailable,
    BundleError,
    EmbeddedModelError,
    PolicyFileError,
    RuntimeLoadError,
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
    return 0


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
        ),
    )


class Application:
    """One server, from its settings to its end."""

    def __init__(
        self,
        settings: Settings,
        *,
        load_engine: LoadEngine = load_served_engine,
        find_bundle: FindBundle = embedded_bundle,
    ) -> None:
        self._settings = settings
        self._load_engine = load_engine
        self._find_bundle = find_bundle

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. Raises the `STARTUP_ERRORS`.

        Metrics can be read from the beginning to the end.
        """
        metrics = Metrics()
        tracing = open_tracing(traces=self._settings.traces)
        try:
            with published(metrics, self._settings.metrics_listen):
                await self._run(metrics, tracing)
        finally:
            await asyncio.to_thread(tracing.close)

    async def _run(self, metrics: Metrics, tracing: Tracing) -> None:
        """Serve, count and trace.

        The address is taken before the model is loaded: a taken port is known at once, and health checks
        are answered from the beginning.
        """
        began = time.perf_counter()
        settings = self._settings
        asyncio.get_running_loop().set_exception_handler(log_unhandled)
        policy_sets = load_policy_sets(settings.policies) if settings.policies else PolicySets()
        service = RouterService(policy_sets, max_deadline=settings.max_deadline_seconds)
        server = RpcServer(
            service,
            AccessLog(
                message_text=settings.log_message_text, observe=metrics.requests.observe, tracing=tracing
            ),
            max_message_bytes=settings.max_message_bytes,
            stream_concurrency=settings.stream_concurrency,
            max_connection_seconds=settings.max_connection_seconds or math.inf,
        )
        metrics.watch_readiness(lambda: server.serving)
        address = await server.start(settings.listen)
        log_event(_logger, logging.INFO, "listening, not ready yet", address=str(address))
        engine: ServedEngine | None = None
        try:
            with stop_signal() as stop:
                engine = await _unless(stop, self._start_engine(policy_sets))
                if engine is not None:
                    service.open(engine)
                    metrics.engine.open(engine)
                    await server.open_for_calls()
                    log_event(
                        _logger,
                        logging.INFO,
                        "ready",
                        address=str(address),
                        policy_sets=policy_sets.names(),
                        provider=engine.identity.provider,
                        prompt_variant=engine.identity.prompt_variant,
                        bundle=engine.identity.bundle_digest,
                        seconds=round(time.perf_counter() - began, 3),
                    )
                    await stop.wait()
        finally:
            await server.drain(settings.drain_seconds)
            if engine is not None:
                # Whoever still waits is told UNAVAILABLE, which is worth more than a broken connection.
                await engine.close(grace=0)
            await server.stop()
        log_event(_logger, logging.INFO, "stopped")

    async def _start_engine(self, policy_sets: PolicySets) -> ServedEngine:
        """Load the model and decide once with each policy set, so that no caller waits for a first time."""
        folder = self._settings.model or await self._find_bundle()
        log_event(_logger, logging.INFO, "loading the model", folder=str(folder))
        engine = await asyncio.to_thread(self._load_engine, folder, self._settings)
        try:
            for name in policy_sets.names():
                await _warm_up(engine, policy_sets.get(name))
            if not policy_sets.names():
                await _warm_up(engine, _WARM_UP_POLICIES)
        except BaseException:
            await engine.close(grace=0)
            raise
        return engine


async def _warm_up(engine: ServedEngine, policy_set: PolicySet) -> None:
    try:
        await engine.decide(policy_set, _WARM_UP_MESSAGES)
    except InvalidRequest as error:
        raise UnservablePolicySet(
            f"the policy set {policy_set.name!r} cannot be served with this model: {error}"
        ) from error


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


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """Give an event that the first SIGTERM or SIGINT sets. A second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stop_once(signal_number: signal.Signals) -> None:
        log_event(_logger, logging.INFO, "stopping", signal=signal_number.name)
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop_once, number)
    try:
        yield stop
    finally:
        if not stop.is_set():
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


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
