"""The warm-up: an engine proves itself before any caller meets it."""

import logging
import time

from archroute_server.engine.errors import ModelFailed
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.engine.warm_up import WARM_UP_MESSAGES, WARM_UP_POLICIES
from archroute_server.lifecycle.served_engine import ServedEngine
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import PolicySet
from archroute_server.router.policy_sets import PolicySets
from archroute_server.telemetry.logging import log_event

_logger = logging.getLogger(__name__)


class UnservablePolicySet(Exception):
    """A policy set that no request could be decided with; the message names it and says why."""


class ModelUnusable(Exception):
    """A model that cannot decide at all; the message says what it failed with and what to do."""


async def warm_up(engine: ServedEngine, policy_sets: PolicySets, *, self_test: bool = True) -> None:
    """Run the self-test, and decide once with each policy set, so that no caller waits for a first time.

    Raises `SelfTestFailed`, `UnservablePolicySet` and `ModelUnusable`.
    """
    try:
        if self_test:
            await _run_self_test(engine)
        sets = [policy_sets.get(name) for name in policy_sets.names()]
        for policy_set in sets or [WARM_UP_POLICIES]:
            await _decide_once(engine, policy_set)
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


async def _decide_once(engine: ServedEngine, policy_set: PolicySet) -> None:
    try:
        await engine.decide(policy_set, WARM_UP_MESSAGES)
    except InvalidRequest as error:
        raise UnservablePolicySet(
            f"the policy set {policy_set.name!r} cannot be served with this model: {error}"
        ) from error
