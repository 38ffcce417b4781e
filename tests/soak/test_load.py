"""Mixed load for a while: nothing is lost, and nothing is left behind."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from support.holdings import Holdings, WatchedServer, watched_server
from support.open_loop import open_loop, percentile, statuses
from support.soak import pick
from support.traffic import EXPECTED, WRONG, Traffic

CALLS_PER_SECOND = 40.0
WARM_UP_SECONDS = pick(short=2, long=120)
SECONDS = pick(short=6, long=1800)
SAMPLE_SECONDS = pick(short=0.5, long=10.0)

# Caches so small that the warm-up fills them; what grows after that is lost.
CACHES = ("--prefix-cache-mib", "4", "--decision-cache-entries", "32")

# Less than the 72,000 requests of half an hour would come to if each left a kilobyte behind.
MOST_GROWTH_BYTES = 64 * 1024 * 1024


async def sample(server: WatchedServer, samples: list[tuple[float, Holdings]]) -> None:
    """Note again and again what the server holds, until cancelled."""
    while True:
        samples.append((time.monotonic(), await asyncio.to_thread(server.holdings)))
        await asyncio.sleep(SAMPLE_SECONDS)


def slope(samples: Sequence[tuple[float, Holdings]]) -> float:
    """Return how much more memory was held with each second, in bytes; 0 for too few samples."""
    if len(samples) < 2:
        return 0.0
    moments, held = zip(*((moment, now.resident_bytes) for moment, now in samples), strict=True)
    return float(np.polyfit(np.array(moments) - moments[0], held, 1)[0])


def counts(held: Holdings) -> str:
    return f"{held.tasks}, {held.threads}, {held.descriptors}"


async def put_under_load(server: WatchedServer, calls: int, seed: int, count: Callable[..., None]) -> None:
    """Make the calls on a channel of their own, and check that each ended as it may."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        ended = await open_loop(Traffic(channel, seed).calls(calls), CALLS_PER_SECOND, seed)
    by_status = statuses(ended)
    count("calls by status", str(by_status))
    for share in (0.5, 0.99):
        count(f"latency from the scheduled time, p{share * 100:g} (s)", f"{percentile(ended, share):.3f}")
    assert by_status.keys() <= EXPECTED | {WRONG}
    assert sum(by_status.values()) == calls


@pytest.mark.timeout((WARM_UP_SECONDS + SECONDS) * 2 + 300)
async def test_a_mixed_load_leaves_nothing_behind(
    bundle: Path, policies: Path, record_property: Callable[[str, object], None]
) -> None:
    with watched_server("--model", bundle, "--policies", policies, *CACHES) as server:
        await put_under_load(server, int(WARM_UP_SECONDS * CALLS_PER_SECOND), 1, lambda *_: None)
        await asyncio.to_thread(server.wait_until_idle)
        before = await asyncio.to_thread(server.settled_holdings)

        samples: list[tuple[float, Holdings]] = []
        sampling = asyncio.create_task(sample(server, samples))
        await put_under_load(server, int(SECONDS * CALLS_PER_SECOND), 2, record_property)
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)

        metrics = await asyncio.to_thread(server.wait_until_idle)
        after = await asyncio.to_thread(server.wait_until_released, before)
        assert server.process.stop() == 0

    growth = after.resident_bytes - before.resident_bytes
    record_property("resident memory after warm-up (MiB)", f"{before.resident_bytes / 2**20:.1f}")
    record_property("its growth (MiB)", f"{growth / 2**20:+.1f}")
    for part, some in (("slope", samples), ("slope in the second half", samples[len(samples) // 2 :])):
        record_property(f"its {part} (KiB/s)", f"{slope(some) / 2**10:+.2f}")
    record_property("tasks, threads, descriptors before", counts(before))
    record_property("tasks, threads, descriptors after", counts(after))
    record_property("answers by what decided", str(metrics.by("archroute_answers_total", "decided_by")))
    assert growth < MOST_GROWTH_BYTES
    assert not server.process.events("internal error")
