"""Bundles and policy sets that change all the time under load: no answer mixes two, and none is lost.

What each bundle says with each policy set is known from before, so that an answer which began with one and
ended with another would show.
"""

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.bundle.bundle import read_manifest
from archroute_server.router.policy import PolicySet
from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint
from support.holdings import WatchedServer, wait_until, watched_server
from support.policy_files import policy_set, write_sets
from support.rpc_calls import ask
from support.server_process import PATIENCE
from support.soak import pick

SWAPS = pick(short=40, long=3_000)
SECONDS_BETWEEN = 0.1
CALLERS = 4
TEXTS = ("please write a test", "hello there", "what does this mean", "good morning")
# So small that some answers come from it, and others are computed.
CACHE = ("--decision-cache-entries", "2")
POLICY_SETS = (policy_set("the set", 1), policy_set("the set", 2))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 2 * SWAPS)]

Probabilities = Mapping[str, float]


@dataclass
class Changing:
    """A server, and the files that it reads its model and its policies from."""

    server: WatchedServer
    bundles: tuple[Path, ...]
    link: Path
    policies: Path
    known: dict[tuple[str, str, str], Probabilities] = field(default_factory=dict)
    """What is said by a bundle, with a revision of the policy set, to a text."""
    over: bool = False
    answers: Counter[str] = field(default_factory=Counter)

    def change(self, bundle: Path, policies: PolicySet) -> None:
        """Turn the link, write the policies, and ask for a reload."""
        turned = self.link.with_name("turned")
        turned.symlink_to(bundle)
        turned.replace(self.link)
        write_sets(self.policies, policies)
        self.server.process.process.send_signal(signal.SIGHUP)

    async def learn(self, stub: Any) -> None:
        """Ask every text of every bundle with every policy set, while nothing else happens."""
        for bundle, policies in itertools.product(self.bundles, POLICY_SETS):
            digest = read_manifest(bundle)[1]
            self.change(bundle, policies)
            revisions = (digest, policies.revision)
            while decided_by(await stub.Route(ask(TEXTS[0]), timeout=PATIENCE)) != revisions:
                await asyncio.sleep(SECONDS_BETWEEN)
            for text in TEXTS:
                answer = await stub.Route(ask(text), timeout=PATIENCE)
                assert decided_by(answer) == revisions
                self.known[*revisions, text] = probabilities(answer)

    async def keep_changing(self) -> None:
        """Change both, in every combination, at an even pace."""
        clock = asyncio.get_running_loop().time
        combinations = itertools.cycle(itertools.product(self.bundles, POLICY_SETS))
        due = clock()
        for bundle, policies in itertools.islice(combinations, SWAPS):
            self.change(bundle, policies)
            due += SECONDS_BETWEEN
            await asyncio.sleep(due - clock())
        self.over = True

    async def keep_asking(self, stub: Any, caller: int) -> None:
        """Ask until nothing changes any more, and check each answer."""
        for turn in itertools.count(caller):
            if self.over:
                return
            text = TEXTS[turn % len(TEXTS)]
            answer = await stub.Route(ask(text), timeout=PATIENCE)
            expected = self.known[*decided_by(answer), text]
            # What came from the prefix cache was multiplied in another order.
            assert probabilities(answer) == pytest.approx(expected, rel=1e-4)
            self.answers[" ".join(part[-4:] for part in decided_by(answer))] += 1

    def reloads(self) -> dict[Any, float]:
        """Return how many reloads of the bundle there were so far, by what came of them."""
        return self.server.metrics().by("archroute_bundle_reloads_total", "result")


def decided_by(answer: Any) -> tuple[str, str]:
    return answer.revisions.bundle_digest, answer.revisions.policy_set_revision


def probabilities(answer: Any) -> Probabilities:
    return {ranked.policy: ranked.probability for ranked in answer.ranking}


def test_every_answer_is_of_one_bundle_and_one_policy_set(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for seed in (1, 2):
        write_tiny_checkpoint(tmp_path / f"checkpoint-{seed}", seed=seed)
        export_bundle(tmp_path / f"checkpoint-{seed}", tmp_path / f"bundle-{seed}")
    bundles = (tmp_path / "bundle-1", tmp_path / "bundle-2")
    policies, link = tmp_path / "policies.yaml", tmp_path / "bundle"
    link.symlink_to(bundles[0])
    write_sets(policies, POLICY_SETS[0])
    with watched_server("--model", link, "--policies", policies, *CACHE) as server:
        changing = Changing(server, bundles, link, policies)
        asyncio.run(put_under_load(changing))
        asked = changing.reloads()
        # The last signal may still be obeyed.
        wait_until(lambda: steady(changing), "reloads do not end")
        server.wait_until_idle()
        assert server.process.stop() == 0
        assert not server.process.events("internal error")
    record_property("changes", SWAPS)
    record_property("reloads of the bundle, those to learn from included", str(asked))
    record_property("answers by bundle and revision", str(dict(changing.answers)))
    assert asked["done"] > 1  # one of them was to learn what the second bundle says
    assert asked.keys() <= {"done", "unchanged"}
    assert len(changing.answers) > 1


async def put_under_load(changing: Changing) -> None:
    async with grpc.aio.insecure_channel(changing.server.address) as channel:
        stub: Any = RouterServiceStub(channel)
        await changing.learn(stub)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(changing.keep_changing())
            for caller in range(CALLERS):
                tasks.create_task(changing.keep_asking(stub, caller))


def steady(changing: Changing) -> bool:
    before = changing.server.holdings()
    after = changing.server.holdings()
    return (before.threads, before.tasks) == (after.threads, after.tasks)
