"""The catalogue in front of an engine without a model: what is held when, and what is refused."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from archroute_server.catalogue import catalogue as catalogue_module
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.catalogue.errors import (
    NoPolicyStore,
    PolicySetReadOnly,
    PolicyStoreFull,
    PolicyStoreUnwritable,
    RevisionMismatch,
    UnservablePolicySet,
)
from archroute_server.catalogue.statistics import ReloadResult
from archroute_server.catalogue.store import PolicySetStore
from archroute_server.engine.errors import EngineClosed
from archroute_server.engine.warm_up import WARM_UP_MESSAGES
from archroute_server.router.errors import InvalidRequest, PolicySetNotFound, Violation
from archroute_server.router.policy_file import PolicyFileError
from support.fake_engine import FakeEngine
from support.policy_files import counts, policy_set, revisions, write_sets

A1, A2, B1 = policy_set("a", 1), policy_set("a", 2), policy_set("b", "b")
WARM_UP = WARM_UP_MESSAGES[-1].text
TOO_LONG = InvalidRequest(Violation("policies", "take 9000 tokens"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policies.yaml"
    write_sets(path, A1)
    return path


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@asynccontextmanager
async def opened(
    engine: FakeEngine, path: Path | None = None, store: Path | None = None
) -> AsyncIterator[PolicyCatalogue]:
    catalogue = PolicyCatalogue.open(path, store)
    await catalogue.use(engine)
    try:
        yield catalogue
    finally:
        await catalogue.close()


def warmed(engine: FakeEngine) -> list[str]:
    return [each.revision for each, _ in engine.decided]


async def test_a_change_of_the_file_is_held(engine: FakeEngine, file: Path) -> None:
    async with opened(engine, file) as catalogue:
        before = catalogue.current
        assert await catalogue.reload() is ReloadResult.UNCHANGED
        assert catalogue.current is before
        write_sets(file, A2, B1, default="b")
        assert await catalogue.reload() is ReloadResult.APPLIED
        assert revisions(catalogue) == {"a": A2.revision, "b": B1.revision}
        assert catalogue.current.default_name == "b"
        # Whoever has the old sets keeps them whole.
        assert before.get("a") == A1
        assert warmed(engine) == [A1.revision, B1.revision, A2.revision]
        assert engine.kept == [B1, A2]


async def test_only_what_is_new_is_read_by_the_model(engine: FakeEngine, file: Path) -> None:
    async with opened(engine, file) as catalogue:
        write_sets(file, A1, B1, default="a")
        await catalogue.reload()
        assert warmed(engine) == [A1.revision, B1.revision]


async def test_nothing_is_swapped_before_the_model_has_read_it(engine: FakeEngine, file: Path) -> None:
    async with opened(engine, file) as catalogue:
        hold = engine.hold(WARM_UP)
        write_sets(file, A2)
        reloading = asyncio.create_task(catalogue.reload())
        await hold.started.wait()
        assert revisions(catalogue) == {"a": A1.revision}
        hold.release.set()
        await reloading
        assert revisions(catalogue) == {"a": A2.revision}


async def test_a_bad_edit_is_refused_once_and_named(
    engine: FakeEngine, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(engine, file) as catalogue:
        began = catalogue.statistics.last_success
        file.write_text("policy_sets:\n  - name: a\n    policies: []\n", encoding="utf-8")
        assert await catalogue.reload() is ReloadResult.REFUSED
        assert await catalogue.reload() is ReloadResult.UNCHANGED
        (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert record.fields["problems"] == [  # type: ignore[attr-defined]
            f"{file}:3:15: policy_sets[0].policies: is empty; give at least one policy"
        ]
        assert revisions(catalogue) == {"a": A1.revision}
        assert not catalogue.statistics.up_to_date
        assert catalogue.statistics.last_success == began
        write_sets(file, A1)
        assert await catalogue.reload() is ReloadResult.APPLIED
        assert catalogue.statistics.up_to_date
        assert catalogue.statistics.last_success > began
        assert counts(catalogue) == {
            ReloadResult.APPLIED: 1,
            ReloadResult.REFUSED: 1,
            ReloadResult.FAILED: 0,
        }


async def test_a_file_that_is_gone_is_refused_once(engine: FakeEngine, file: Path) -> None:
    async with opened(engine, file) as catalogue:
        file.unlink()
        assert await catalogue.reload() is ReloadResult.REFUSED
        assert await catalogue.reload() is ReloadResult.UNCHANGED
        assert revisions(catalogue) == {"a": A1.revision}
        write_sets(file, A1)
        assert await catalogue.reload() is ReloadResult.APPLIED


async def test_a_set_that_the_model_cannot_decide_by_is_refused_with_its_place(
    engine: FakeEngine, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(engine, file) as catalogue:
        engine.fail(WARM_UP, TOO_LONG)
        write_sets(file, A2)
        assert await catalogue.reload() is ReloadResult.REFUSED
        assert await catalogue.reload() is ReloadResult.UNCHANGED
        (problem,) = caplog.records[-1].fields["problems"]  # type: ignore[attr-defined]
        assert problem == (
            f"{file}:2:11: the policy set 'a' cannot be served with this model: policies: take 9000 tokens"
        )
        assert revisions(catalogue) == {"a": A1.revision}


async def test_what_failed_without_a_mistake_is_tried_again(engine: FakeEngine, file: Path) -> None:
    async with opened(engine, file) as catalogue:
        engine.fail(WARM_UP, RuntimeError("out of memory"))
        write_sets(file, A2)
        assert await catalogue.reload() is ReloadResult.FAILED
        assert not catalogue.statistics.up_to_date
        # Nor is it forgotten if the edit is taken back.
        write_sets(file, A1)
        assert await catalogue.reload() is ReloadResult.APPLIED
        assert catalogue.statistics.up_to_date
        engine._failures.clear()
        write_sets(file, A2)
        assert await catalogue.reload() is ReloadResult.APPLIED
        assert revisions(catalogue) == {"a": A2.revision}


async def test_at_the_start_a_set_that_cannot_be_served_is_named(engine: FakeEngine, file: Path) -> None:
    engine.fail(WARM_UP, TOO_LONG)
    catalogue = PolicyCatalogue.open(file, None)
    with pytest.raises(UnservablePolicySet, match=rf"^{file}:2:11: the policy set 'a' cannot"):
        await catalogue.use(engine)
    with pytest.raises(PolicyFileError):
        PolicyCatalogue.open(file.with_name("none.yaml"), None)


async def test_a_set_is_stored_and_is_there_after_a_restart(engine: FakeEngine, tmp_path: Path) -> None:
    async with opened(engine, None, tmp_path / "store") as catalogue:
        await catalogue.put(A1)
        assert catalogue.current.get("a") is A1
        assert catalogue.current.is_stored("a")
        assert warmed(engine) == [A1.revision]
        assert engine.kept == [A1]
        await catalogue.put(A2, A1.revision)
        await catalogue.put(B1, "")
    async with opened(engine, None, tmp_path / "store") as catalogue:
        assert revisions(catalogue) == {"a": A2.revision, "b": B1.revision}
        assert catalogue.current.default_name == ""
        await catalogue.delete("a", A2.revision)
        assert revisions(catalogue) == {"b": B1.revision}
    async with opened(engine, None, tmp_path / "store") as catalogue:
        assert revisions(catalogue) == {"b": B1.revision}


@pytest.mark.parametrize(("there", "wanted"), [(True, ""), (True, A2.revision), (False, A1.revision)])
async def test_a_set_that_is_another_one_is_not_replaced(
    engine: FakeEngine, tmp_path: Path, there: bool, wanted: str
) -> None:
    async with opened(engine, None, tmp_path) as catalogue:
        if there:
            await catalogue.put(A1)
        with pytest.raises(RevisionMismatch) as caught:
            await catalogue.put(A2, wanted)
        assert caught.value.current == (A1.revision if there else "")
        assert revisions(catalogue) == ({"a": A1.revision} if there else {})
        with pytest.raises(RevisionMismatch if there else PolicySetNotFound):
            await catalogue.delete("a", wanted)


async def test_of_many_who_change_the_same_revision_one_does(engine: FakeEngine, tmp_path: Path) -> None:
    async with opened(engine, None, tmp_path) as catalogue:
        await catalogue.put(A1)
        changes = [catalogue.put(policy_set("a", number), A1.revision) for number in range(10, 20)]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert sum(result is None for result in results) == 1
        winner = results.index(None)
        assert revisions(catalogue) == {"a": policy_set("a", 10 + winner).revision}
        assert all(isinstance(result, RevisionMismatch) for result in results if result is not None)


async def test_sets_of_the_files_are_not_changed_by_calls(
    engine: FakeEngine, file: Path, tmp_path: Path
) -> None:
    async with opened(engine, file, tmp_path / "store") as catalogue:
        for change in (catalogue.put(A2), catalogue.delete("a")):
            with pytest.raises(PolicySetReadOnly, match="'a' comes from a file"):
                await change
        await catalogue.put(B1)
        assert catalogue.current.default_name == "a"
        assert engine.kept == [A1, B1]


async def test_without_a_store_nothing_is_changed(engine: FakeEngine, file: Path) -> None:
    async with opened(engine, file) as catalogue:
        for change in (catalogue.put(B1), catalogue.delete("b")):
            with pytest.raises(NoPolicyStore, match="--policy-store"):
                await change


async def test_a_file_may_not_take_a_name_of_the_store_until_it_is_free(
    engine: FakeEngine, file: Path, tmp_path: Path
) -> None:
    async with opened(engine, file, tmp_path / "store") as catalogue:
        await catalogue.put(B1)
        write_sets(file, A1, B1, default="a")
        assert await catalogue.reload() is ReloadResult.REFUSED
        await catalogue.delete("b")
        assert await catalogue.reload() is ReloadResult.APPLIED
        assert not catalogue.current.is_stored("b")
    with pytest.raises(PolicyFileError, match=f"{file}:7:11: the policy store has a set 'b'"):
        with_store(tmp_path / "store", B1).open(file, tmp_path / "store")


def with_store(folder: Path, *sets: object) -> type[PolicyCatalogue]:
    store = PolicySetStore(folder)
    for each in sets:
        store.write(each)  # type: ignore[arg-type]
    store.close()
    return PolicyCatalogue


async def test_a_set_that_the_model_cannot_decide_by_is_not_stored(
    engine: FakeEngine, tmp_path: Path
) -> None:
    async with opened(engine, None, tmp_path) as catalogue:
        engine.fail(WARM_UP, TOO_LONG)
        with pytest.raises(InvalidRequest, match="take 9000 tokens"):
            await catalogue.put(A1)
        assert revisions(catalogue) == {}
    with closing(PolicySetStore(tmp_path)) as store:
        assert store.sets == {}


async def test_a_disk_that_refuses_leaves_the_old_set(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(engine, None, tmp_path) as catalogue:
        await catalogue.put(A1)

        def refuse(self: PolicySetStore, changed: object) -> None:
            raise PolicyStoreUnwritable("No space left on device")

        monkeypatch.setattr(PolicySetStore, "write", refuse)
        with pytest.raises(PolicyStoreUnwritable):
            await catalogue.put(A2)
        assert revisions(catalogue) == {"a": A1.revision}


async def test_the_store_is_bounded(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_module, "MAX_STORED_SETS", 1)
    async with opened(engine, None, tmp_path) as catalogue:
        await catalogue.put(A1)
        await catalogue.put(A2)
        with pytest.raises(PolicyStoreFull, match="holds 1 sets"):
            await catalogue.put(B1)


async def test_a_change_is_made_to_its_end_if_its_caller_gives_up(engine: FakeEngine, tmp_path: Path) -> None:
    async with opened(engine, None, tmp_path) as catalogue:
        hold = engine.hold(WARM_UP)
        putting = asyncio.create_task(catalogue.put(A1))
        await hold.started.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        hold.release.set()
        # In turn, so the one before is over.
        await catalogue.put(B1)
        assert revisions(catalogue) == {"a": A1.revision, "b": B1.revision}


async def test_closing_ends_what_is_under_way(engine: FakeEngine, tmp_path: Path) -> None:
    catalogue = PolicyCatalogue.open(None, tmp_path)
    await catalogue.use(engine)
    hold = engine.hold(WARM_UP)
    putting = asyncio.create_task(catalogue.put(A1))
    waiting = asyncio.create_task(catalogue.put(B1))
    await hold.started.wait()
    await catalogue.close()
    for change in (putting, waiting):
        with pytest.raises(EngineClosed):
            await change
    with closing(PolicySetStore(tmp_path)) as store:
        assert store.sets == {}


async def test_another_engine_reads_every_set_before_it_is_used(
    engine: FakeEngine, file: Path, tmp_path: Path
) -> None:
    async with opened(engine, file, tmp_path / "store") as catalogue:
        await catalogue.put(B1)
        other = FakeEngine()
        await catalogue.use(other)
        assert warmed(other) == [A1.revision, B1.revision]
        assert other.kept == [A1, B1]
        await catalogue.put(policy_set("c"))
        assert len(engine.decided) == 2
        assert len(other.decided) == 3
