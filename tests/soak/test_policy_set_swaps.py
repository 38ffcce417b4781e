"""Policy sets that change all the time under load: no answer mixes two revisions, and none is lost."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from archroute.v1 import policy_sets_pb2
from archroute.v1.policy_sets_pb2_grpc import PolicySetServiceStub
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.catalogue.statistics import ReloadResult
from archroute_server.engine.engine import Engine
from archroute_server.engine.limits import Limits
from archroute_server.router.policy import OTHER, PolicySet
from archroute_server.rpc.address import Address
from archroute_server.rpc.convert import write_policy_set
from support.engine_calls import IDENTITY
from support.numpy_model import NumpyModel
from support.policy_files import policy_set, write_sets
from support.rpc_calls import ask, new_server
from support.soak import pick
from support.tiny_encoder import special_token, tiny_encoder

SWAPS = pick(short=8, long=6_000)
CALLERS = 4
TEXTS = ("please write a test", "hello there", "what does this mean", "good morning")
# So that answers come from the decision cache too, and what is not kept is evicted.
LIMITS = Limits(prefix_cache_bytes=1 << 20, decision_cache_entries=64)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 2 * SWAPS)]


@dataclass
class Changing:
    """A server whose sets are changed, and what is known of them."""

    catalogue: PolicyCatalogue
    file: Path
    router: Any  # the generated stubs have no types
    policy_sets: Any
    numbers: dict[str, int] = field(default_factory=lambda: {"of-file": 0, "stored": 0})
    """How far each set has come: a request that begins now is decided by this one or a later one."""
    over: bool = False
    answers: Counter[str] = field(default_factory=Counter)

    async def change(self) -> None:
        """Change both sets again and again, each after the other."""
        for number in range(1, SWAPS + 1):
            write_sets(self.file, policy_set("of-file", number))
            assert await self.catalogue.reload() is ReloadResult.APPLIED
            self.numbers["of-file"] = number
            request = policy_sets_pb2.PutPolicySetRequest(
                policy_set=write_policy_set(policy_set("stored", number), stored=False),
                if_revision=policy_set("stored", number - 1).revision,
            )
            await self.policy_sets.PutPolicySet(request)
            self.numbers["stored"] = number
        self.over = True

    async def call(self, caller: int) -> None:
        """Ask until nothing changes any more, and check each answer."""
        for turn in itertools.count():
            if self.over:
                return
            name = ("of-file", "stored")[(turn + caller) % 2]
            began = self.numbers[name]
            answer = await self.router.Route(ask(TEXTS[turn % len(TEXTS)], policy_set=name))
            self.check(answer, name, began)
            self.answers[name] += 1

    def check(self, answer: Any, name: str, began: int) -> None:
        """See that everything in an answer is of one revision, which is not older than the request."""
        revisions = {
            policy_set(name, number).revision: policy_set(name, number)
            for number in range(began, self.numbers[name] + 2)
        }
        assert answer.revisions.policy_set == name
        decided_by: PolicySet = revisions[answer.revisions.policy_set_revision]
        models = {policy.name: list(policy.models) for policy in decided_by.policies}
        assert {ranked.policy for ranked in answer.ranking} == {*models, OTHER}
        assert list(answer.models) == models.get(answer.policy, [])
        self.answers["from the decision cache"] += answer.from_decision_cache


@pytest.fixture
async def changing(tmp_path: Path) -> AsyncIterator[Changing]:
    file = tmp_path / "policies.yaml"
    write_sets(file, policy_set("of-file", 0))
    catalogue = PolicyCatalogue.open(file, tmp_path / "store")
    encoder = tiny_encoder()
    end = special_token(encoder.tokenizer, "<|im_end|>")
    engine = Engine(NumpyModel(400), encoder, end, IDENTITY, LIMITS)
    await catalogue.use(engine)
    await catalogue.put(policy_set("stored", 0))
    server, service = new_server(catalogue=catalogue, allow_admin=True)
    address = await server.start(Address("127.0.0.1", 0))
    service.open(engine)
    async with grpc.aio.insecure_channel(str(address)) as channel:
        yield Changing(catalogue, file, RouterServiceStub(channel), PolicySetServiceStub(channel))
    await server.drain(0)
    await server.stop()
    await catalogue.close()
    await engine.close(grace=0)


async def test_every_answer_is_of_one_revision_and_none_is_lost(
    changing: Changing, record_property: Callable[[str, object], None]
) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(changing.change())
        for caller in range(CALLERS):
            tasks.create_task(changing.call(caller))
    assert changing.answers["of-file"] > 0
    assert changing.answers["stored"] > 0
    record_property("changes", 2 * SWAPS)
    record_property("answers, none lost or mixed", str(dict(changing.answers)))
