"""The phase `engine`: decisions on one provider, in one variant."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from archroute_server.engine.engine import Engine
from archroute_server.engine.limits import Limits
from archroute_server.engine.loading import load_engine
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.runtime.providers import choose_provider
from gpu_run.loop import Asker, Round
from gpu_run.parity import compare
from gpu_run.plan import BUNDLE, ENGINES, REQUESTS, Case, Plan
from gpu_run.requests import policies
from gpu_run.trace import device_work
from gpu_run.variants import WITHOUT_GRAPH_CAPTURE, Variant, forbid_graph_capture
from peers.figures import Latency, percentile
from peers.results import Results

# Before each measurement: a shape that comes for the first time may be compiled or captured.
_WARM_UP_SHARE = 2.0
# Decisions of which the device's work is recorded.
_TRACED = 10


def run(
    plan: Plan,
    results: Results,
    found: dict[str, Any],
    save: Callable[[], None],
    provider: str,
    variant: Variant,
) -> None:
    """Load the bundle, compare its answers with the reference's, and measure every case."""
    if not variant.graph_capture:
        forbid_graph_capture()
    asyncio.run(_Measuring(plan, results, found, save, variant).run(provider))


class _Measuring:
    def __init__(
        self, plan: Plan, results: Results, found: dict[str, Any], save: Callable[[], None], variant: Variant
    ) -> None:
        self._plan = plan
        self._results = results
        self._found = found
        self._save = save
        self._variant = variant
        self._requests = results.read(REQUESTS)

    async def run(self, provider: str) -> None:
        logging.getLogger().addHandler(_Warnings(self._found))
        engine = self._load(provider)
        try:
            self._found["self_test"] = await _self_test(engine)
            self._found["parity"] = await compare(self._plan, self._results, engine)
            self._save()
            self._found["cases"] = {}
            for case in self._plan.cases():
                await self._measure(engine, case)
                self._save()
            await self._trace(engine)
        finally:
            await engine.close(grace=0)

    def _load(self, provider: str) -> Engine:
        start = time.perf_counter()
        engine = load_engine(
            self._results.folder / BUNDLE,
            provider=provider,
            threads=0,
            max_prompt_tokens=self._plan.max_prompt_tokens,
            limits=Limits(
                tree_tokens=self._plan.tree_tokens,
                batch_requests=self._plan.batch_requests if self._variant.packed else 1,
                prefix_cache_bytes=self._plan.prefix_cache_bytes(),
            ),
            self_test=True,
            engine_cache=self._results.folder / ENGINES,
        )
        self._found["load_seconds"] = time.perf_counter() - start
        self._found["provider"] = engine.identity.provider
        return engine

    async def _measure(self, engine: Engine, case: Case) -> None:
        # A single caller never shares a pass, so its figures are those of the packed variant.
        callers = [number for number in self._plan.callers if number > 1 or self._variant.packed]
        asker = await self._asker(engine, case)
        measured = self._found["cases"][case.name] = {}
        for number in callers:
            await asker.together(number, _WARM_UP_SHARE * self._plan.seconds)
            before = engine.batch_statistics
            done = await asker.together(number, self._plan.seconds)
            after = engine.batch_statistics
            measured[str(number)] = _figures(done) | {
                "requests_in_a_pass": (after.requests - before.requests) / (after.batches - before.batches),
                "tokens_in_a_pass": (after.tokens - before.tokens)
                / (after.forward_passes - before.forward_passes),
            }

    async def _asker(self, engine: Engine, case: Case) -> Asker:
        """Return what asks the requests of a case, once the policies are in the prefix cache."""
        chosen = policies(case.policies)
        await engine.warm(chosen)
        return Asker(engine, chosen, [each["text"] for each in self._requests["cases"][case.name]])

    async def _trace(self, engine: Engine) -> None:
        """Record what the device did for a few decisions of each number of new tokens, one at a time."""
        found = self._found["device_work"] = {}
        for case in self._plan.cases():
            if case.policies != self._plan.policies[0]:
                continue
            if self._captures:
                found[case.name] = {"skipped": f"see the variant '{WITHOUT_GRAPH_CAPTURE.name}'"}
                continue
            asker = await self._asker(engine, case)
            await asker.together(1, _WARM_UP_SHARE * self._plan.seconds)
            found[case.name] = await device_work(asker.ask, _TRACED, self._plan.device)
            self._save()

    @property
    def _captures(self) -> bool:
        """Whether passes are replayed: tracing graphs that were captured before may crash or miss kernels.

        See https://github.com/pytorch/pytorch/issues/75504.
        """
        return choose_provider(self._found["provider"], self._plan.precision).graph_capture


class _Warnings(logging.Handler):
    """Keeps what the server would log as a warning: that no pass could be captured, for example."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message, each only once."""
        kept = self._found.setdefault("warnings", [])
        if (message := record.getMessage()) not in kept:
            kept.append(message)


async def _self_test(engine: Engine) -> dict[str, Any]:
    """Ask the bundle's fixed prompts. A server would not serve if they failed; its figures are still told."""
    try:
        report = await engine.run_self_test()
    except SelfTestFailed as failure:
        return {"failed": str(failure)}
    assert report is not None, "every export records a self-test"
    return {"difference": report.difference, "bound": report.bound}


def _figures(done: Round) -> dict[str, Any]:
    latency = Latency.of(done.latencies)
    timings = [answer.timings for answer in done.answers]
    stages = {
        "tokenize": [timing.tokenize for timing in timings],
        "queue": [timing.queue for timing in timings],
        "inference": [timing.inference for timing in timings],
    }
    return {
        "p50": latency.p50,
        "p95": latency.p95,
        "p99": latency.p99,
        "decisions": latency.decisions,
        "per_second": latency.decisions / done.seconds,
        "cached_tokens": percentile([answer.tokens.cached for answer in done.answers], 0.5),
        "stages": {name: 1000 * percentile(seconds, 0.5) for name, seconds in stages.items()},
    }
