"""Supervisor: health is NOT_SERVING while the model fails or hangs, and SERVING once it is right again.

              N failures in a row                      a forward pass takes longer than it may
    SERVING ──────────────────────▶ NOT_SERVING ◀──────────────────────────────────────────── any
       ▲                                │  ▲                          twice as long: the end
       └── a probe is answered right ───┘  └── it came to its end ────────────┘

A native call that hangs cannot be ended from Python, nor can a second model be trusted where the first one
hangs on the same device. So whoever waits is told at once, and if the pass is not over after the same time
again the process ends, with a status that has its supervisor start another.
"""

import asyncio
import logging
import time
from typing import NoReturn, Protocol

from archroute_server.lifecycle.served_engine import CurrentEngine, ServedEngine
from archroute_server.telemetry.logging import log_event

LOOK_SECONDS = 0.25
PROBE_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class ModelHangs(Exception):
    """A forward pass does not end, and nothing but the end of the process ends it."""


class Health(Protocol):
    """What health checks are answered with."""

    async def open_for_calls(self) -> None:
        """Report SERVING."""

    async def close_for_calls(self) -> None:
        """Report NOT_SERVING."""


class Supervisor:
    """Looks at the vitals of the engine that decides, and makes the health of the server follow them."""

    def __init__(
        self,
        current: CurrentEngine,
        health: Health,
        *,
        failures: int,
        forward_timeout: float,
    ) -> None:
        """Report NOT_SERVING after so many `failures` in a row; 0 is never."""
        self._current = current
        self._health = health
        self._failures = failures
        self._forward_timeout = forward_timeout
        self._engine = current.engine
        self._unhealthy = False
        self._stalled = False
        self._probe: asyncio.Task[None] | None = None
        self._probe_at = 0.0

    async def run(self) -> NoReturn:
        """Watch until cancelled. Raises `ModelHangs`."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await self.look()
        finally:
            self._drop_probe()

    async def look(self) -> None:
        """Look at the engine once, and do what is to be done. Raises `ModelHangs`."""
        engine = self._current.engine
        if engine is not self._engine:
            await self._adopt(engine)
        vitals = engine.vitals
        if vitals.stalled:
            await self._handle_stall(engine, vitals.forward_seconds)
        elif self._stalled:
            self._stalled = False
            log_event(_logger, logging.WARNING, "the forward pass came to its end")
        elif self._unhealthy:
            await self._keep_probing(engine)
        elif self._failures and vitals.failures_in_a_row >= self._failures:
            await self._report_unhealthy(
                "not serving: the model fails", failures_in_a_row=vitals.failures_in_a_row
            )

    async def _adopt(self, engine: ServedEngine) -> None:
        """Take an engine for healthy that took the place of another: it was tested before."""
        self._engine = engine
        self._stalled = False
        self._drop_probe()
        if self._unhealthy:
            await self._recover()

    async def _handle_stall(self, engine: ServedEngine, seconds: float) -> None:
        """Let nobody wait for a forward pass that hangs."""
        if not self._stalled:
            self._stalled = True
            await self._report_unhealthy("not serving: a forward pass hangs", seconds=round(seconds, 3))
        if told := engine.abandon():
            log_event(_logger, logging.ERROR, "told those who waited that the model hangs", requests=told)
        if seconds > 2 * self._forward_timeout:
            raise ModelHangs(
                f"a forward pass of the model has run for {seconds:.3g} s, where --forward-timeout-seconds "
                f"allows {self._forward_timeout:g}, and cannot be ended; the server has to be started again"
            )

    async def _keep_probing(self, engine: ServedEngine) -> None:
        """Probe the engine at intervals, since no load balancer sends it requests that would tell."""
        if self._probe is None:
            if time.monotonic() >= self._probe_at:
                self._probe = asyncio.create_task(engine.probe())
                # Or asyncio complains of the error of a probe that is dropped.
                self._probe.add_done_callback(lambda probe: probe.cancelled() or probe.exception())
            return
        if not self._probe.done():
            return
        probe, self._probe = self._probe, None
        self._probe_at = time.monotonic() + PROBE_SECONDS
        if (error := probe.exception()) is None:
            await self._recover()
        else:
            log_event(_logger, logging.WARNING, "a probe of the model failed", error)

    async def _report_unhealthy(self, event: str, **fields: object) -> None:
        self._unhealthy = True
        self._probe_at = time.monotonic()
        await self._health.close_for_calls()
        log_event(_logger, logging.ERROR, event, bundle=self._engine.identity.bundle_digest, **fields)

    async def _recover(self) -> None:
        self._unhealthy = False
        await self._health.open_for_calls()
        log_event(_logger, logging.INFO, "serving again", bundle=self._engine.identity.bundle_digest)

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
