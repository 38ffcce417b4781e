"""Another bundle in the place of the one that decides, and what keeps the old one."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archroute_server.bundle.bundle import read_manifest
from archroute_server.bundle.errors import BundleError
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.engine.identity import Identity
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.engine.warm_up import WARM_UP_MESSAGES
from archroute_server.lifecycle.reload import BundleReload, ReloadResult, Sources
from archroute_server.lifecycle.served_engine import CurrentEngine, ServedEngine
from archroute_server.lifecycle.warm_up import warm_up
from archroute_server.metrics.bundle_reloads import RESULTS
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_file import PlacedPolicySets
from archroute_server.router.policy_sets import PolicySets
from archroute_server.runtime.errors import RuntimeLoadError
from support.fake_engine import FakeEngine
from support.manifests import turn, write_bundle

SETS = PolicySets([PolicySet("coding", (Policy("code", "Writing code"),))])


class Served:
    """A reload, everything that it takes, and everything that came of it."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.results: list[str] = []
        self.users: list[ServedEngine] = []
        self.loaded: list[Path] = []
        self.memory = math.inf
        self.first = FakeEngine(Identity(read_manifest(link)[1], "a", "cpu"))
        self.current = CurrentEngine(self.first, self.users.append)
        self.catalogue = PolicyCatalogue(PlacedPolicySets(SETS, {}))
        self.prepare: Callable[[FakeEngine], object] = lambda engine: None
        self.load_error: Exception | None = None
        self.made: list[FakeEngine] = []
        self.reload = BundleReload(
            self.current,
            Sources(
                self.find, self.load, lambda engine: warm_up(engine, self.catalogue), lambda: self.memory
            ),
            prefix_cache_bytes=100 * 2**20,
            close_seconds=60,
            observe=self.results.append,
        )

    async def find(self) -> Path:
        return self.link.resolve()

    async def warm(self, engine: ServedEngine) -> None:
        await warm_up(engine, self.catalogue)

    def load(self, folder: Path) -> FakeEngine:
        self.loaded.append(folder)
        if self.load_error is not None:
            raise self.load_error
        engine = FakeEngine(Identity(read_manifest(folder)[1], "a", "cpu"))
        self.prepare(engine)
        self.made.append(engine)
        return engine


@pytest.fixture
def served(tmp_path: Path) -> Served:
    write_bundle(tmp_path / "one", "one")
    write_bundle(tmp_path / "two", "two")
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "one")
    return Served(link)


async def test_the_same_bundle_is_not_loaded_again(served: Served) -> None:
    assert await served.reload.run() is ReloadResult.UNCHANGED
    assert (served.loaded, served.results) == ([], ["unchanged"])
    assert served.current.engine is served.first


async def test_a_link_that_leads_elsewhere(served: Served, tmp_path: Path) -> None:
    turn(served.link, "two")
    assert await served.reload.run() is ReloadResult.DONE
    (another,) = served.made
    assert served.loaded == [(tmp_path / "two").resolve()]
    # It was warm, with the policy sets of the server, before anybody met it.
    assert [policies.name for policies, _ in another.decided] == ["coding"]
    assert served.users == [served.first, another]
    assert served.first.closed.is_set()
    assert not another.closed.is_set()
    assert served.results == ["done"]


async def test_a_folder_whose_content_changed(served: Served, tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "one", "three")
    assert await served.reload.run() is ReloadResult.DONE
    assert served.current.engine.identity.bundle_digest == digest


async def test_those_under_way_are_answered_by_the_old_one(served: Served, tmp_path: Path) -> None:
    closing = asyncio.Event()
    close = served.first.close

    async def close_slowly(grace: float, patience: float | None = None) -> bool:
        assert grace == 60
        closing.set()
        await release.wait()
        return await close(grace, patience)

    release = asyncio.Event()
    served.first.close = close_slowly  # type: ignore[method-assign]
    turn(served.link, "two")
    reloading = asyncio.create_task(served.reload.run())
    await closing.wait()
    # The new one decides already, and the old one still does what it was asked before.
    assert served.current.engine is served.made[0]
    assert not served.first.closed.is_set()
    release.set()
    assert await reloading is ReloadResult.DONE


@pytest.mark.parametrize(
    ("mib", "result"), [(1727, ReloadResult.TOO_LITTLE_MEMORY), (1728, ReloadResult.DONE)]
)
async def test_two_models_must_fit(served: Served, mib: int, result: ReloadResult) -> None:
    # 1.5 x 1000 MiB of weights, 100 MiB for the prefix cache, 128 MiB for the rest.
    served.memory = mib * 2**20
    turn(served.link, "two")
    assert await served.reload.run() is result
    assert len(served.loaded) == (result is ReloadResult.DONE)


@pytest.mark.parametrize(
    "error",
    [BundleError("altered"), RuntimeLoadError("no provider"), MemoryError(), ValueError()],
)
async def test_a_bundle_that_does_not_load_keeps_the_old_one(served: Served, error: Exception) -> None:
    served.load_error = error
    await keeps_the_old_one(served)


async def test_a_slower_provider_than_before_keeps_the_old_one(served: Served) -> None:
    served.first.identity = replace(served.first.identity, provider="cuda")
    served.prepare = lambda engine: setattr(
        engine, "identity", replace(engine.identity, preferred_provider="cuda")
    )
    await keeps_the_old_one(served)


async def test_a_provider_that_the_old_one_could_not_have_either(served: Served) -> None:
    fell_back = {"provider": "cpu", "preferred_provider": "cuda"}
    served.first.identity = replace(served.first.identity, **fell_back)  # type: ignore[arg-type]
    served.prepare = lambda engine: setattr(engine, "identity", replace(engine.identity, **fell_back))
    turn(served.link, "two")
    assert await served.reload.run() is ReloadResult.DONE


async def test_a_folder_without_a_bundle_keeps_the_old_one(served: Served, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    turn(served.link, "nothing")
    assert await served.reload.run() is ReloadResult.FAILED
    assert served.current.engine is served.first


async def test_other_answers_keep_the_old_one(served: Served) -> None:
    served.prepare = lambda engine: setattr(engine, "self_test", SelfTestFailed("prompt 1 of 6"))
    await keeps_the_old_one(served)


@pytest.mark.parametrize("error", [InvalidRequest(Violation("policies", "take too much")), OSError()])
async def test_a_warm_up_that_fails_keeps_the_old_one(served: Served, error: Exception) -> None:
    served.prepare = lambda engine: engine.fail(WARM_UP_MESSAGES[0].text, error)
    await keeps_the_old_one(served)


async def keeps_the_old_one(served: Served) -> None:
    turn(served.link, "two")
    assert await served.reload.run() is ReloadResult.FAILED
    assert served.current.engine is served.first
    assert not served.first.closed.is_set()
    assert served.users == [served.first]
    assert all(engine.closed.is_set() for engine in served.made)
    assert served.results == ["failed"]
    # And what was wrong can be put right.
    served.load_error, served.prepare = None, lambda engine: None
    assert await served.reload.run() is ReloadResult.DONE


async def test_a_stop_during_the_warm_up_closes_the_new_one(served: Served) -> None:
    holds = []
    served.prepare = lambda engine: holds.append(engine.hold(WARM_UP_MESSAGES[0].text))
    turn(served.link, "two")
    reloading = asyncio.create_task(served.reload.run())
    while not holds:
        await asyncio.sleep(0)
    await holds[0].started.wait()
    reloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reloading
    assert served.made[0].closed.is_set()
    assert served.current.engine is served.first


async def test_a_hanging_engine_does_not_hold_up_the_next(served: Served) -> None:
    served.first.hangs = True
    turn(served.link, "two")
    assert await served.reload.run() is ReloadResult.DONE


def test_the_results_are_those_of_the_metrics() -> None:
    assert tuple(result.value for result in ReloadResult) == RESULTS
