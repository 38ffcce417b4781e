"""The warm-up: an engine proves itself before any caller meets it."""

import logging
import time

from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.catalogue.errors import UnservablePolicySet
from archroute_server.engine.errors import ModelFailed
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.engine.warm_up import WARM_UP_POLICIES
from archroute_server.lifecycle.served_engine import ServedEngine
from archroute_server.telemetry.logging import log_event

_logger = logging.getLogger(__name__)


class ModelUnusable(Exception):
    """A model that cannot decide at all; the message says what it failed with and what to do."""


async def warm_up(engine: ServedEngine, catalogue: PolicyCatalogue, *, self_test: bool = True) -> None:
    """Run the self-test, and let the model read each policy set, so that no caller waits for a first time.

    Raises `SelfTestFailed`, `UnservablePolicySet` and `ModelUnusable`.
    """
    try:
        if self_test:
            await _run_self_test(engine)
        await catalogue.use(engine)
        if not catalogue.current.names():
            await engine.warm(WARM_UP_POLICIES)
    except (SelfTestFailed, UnservablePolicySet):
        raise
    except Exception as error:
        # The requests are this server's own, so the words of the error quote nobody.
        cause = error.__cause__ if isinstance(error, ModelFailed) and error.__cause__ else error
        raise ModelUnusable(
            f"the model of {engine.identity.bundle_digest} cannot decide a first request: "
            f"{type(cause).__name__}: {cause}. Export the checkpoint again, or try another --provider or "
            "fewer --threads; if that does not help, report it"
        ) from error


async def _run_self_test(engine: ServedEngine) -> None:
    began = time.perf_counter()
    report = await engine.run_self_test()
    if report is None:
        log_event(
            _logger,
            logging.WARNING,
            "no self-test: the bundle was exported before there were fixed prompts; export it again",
            bundle=engine.identity.bundle_digest,
        )
        return
    log_event(
        _logger,
        logging.INFO,
        "self-test passed",
        bundle=engine.identity.bundle_digest,
        prompts=report.prompts,
        largest_difference=round(report.difference, 6),
        allowed=round(report.bound, 6),
        seconds=round(time.perf_counter() - began, 3),
    )
