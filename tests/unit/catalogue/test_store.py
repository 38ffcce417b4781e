"""The store: what it gives back, and what is left of it whenever its process stops."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.catalogue import durable_file
from archroute_server.catalogue.durable_file import PREFIX
from archroute_server.catalogue.errors import PolicyStoreError, PolicyStoreUnwritable
from archroute_server.catalogue.store import PolicySetStore
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_file import load_policy_sets
from support.policy_files import policy_set


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PolicySetStore]:
    with closing(PolicySetStore(tmp_path / "deep" / "store")) as store:
        yield store


def test_a_store_can_be_opened_again(tmp_path: Path) -> None:
    for number in range(2):
        with closing(PolicySetStore(tmp_path)) as store:
            assert len(store.sets) == number
            store.write(policy_set(f"set {number}"))


def test_what_was_written_is_there_when_it_is_opened_again(store: PolicySetStore) -> None:
    first, second = policy_set("a", 1), policy_set("../b:c\\d", 2, default_policy="talk 2")
    store.write(first)
    store.write(second)
    store.write(changed := policy_set("a", 3))
    assert store._read() == store.sets == {"a": changed, second.name: second}


def test_what_was_removed_is_gone(store: PolicySetStore) -> None:
    store.write(policy_set("a"))
    store.write(policy_set("b"))
    store.remove("a")
    assert store.sets.keys() == {"b"}
    assert not store.path("a").exists()


def test_a_stored_set_is_a_policies_file(store: PolicySetStore) -> None:
    store.write(kept := policy_set("My Set!", 1, default_policy="code 1"))
    path = store.path("My Set!")
    assert path.name.startswith("my-set-")
    assert load_policy_sets(path).get("") == kept


def test_a_store_is_for_one_server(store: PolicySetStore) -> None:
    with pytest.raises(PolicyStoreError, match="another server has it open"):
        PolicySetStore(store.folder)


def test_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PolicyStoreError, match=f"{tmp_path / 'file'}: cannot be opened: "):
        PolicySetStore(tmp_path / "file")


def test_a_disk_that_is_full_leaves_what_was_there(
    store: PolicySetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(old := policy_set("a", 1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(durable_file.os, "fsync", full)
        with pytest.raises(PolicyStoreUnwritable, match="No space left on device; what was there goes on"):
            store.write(policy_set("a", 2))
    assert store.sets == {"a": old}
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(PREFIX)] == []
    assert store._read() == {"a": old}


def alter(text: str) -> str:
    return text.replace("What is about code", "What is about coal")


def rename(text: str) -> str:
    return text.replace('"name": "a"', '"name": "b"', 1)


def cut(text: str) -> str:
    return text[: len(text) // 2]


def unmark(text: str) -> str:
    return text.split("\n", 1)[1]


@pytest.mark.parametrize("damage", [alter, rename, cut, unmark])
def test_a_file_that_was_altered_is_named(store: PolicySetStore, damage: Callable[[str], str]) -> None:
    store.write(policy_set("a", 1))
    path = store.path("a")
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(PolicyStoreError) as caught:
        store._read()
    assert str(path) in str(caught.value)
    assert "restore the file, or delete it and put the set again" in str(caught.value)


def test_a_crash_after_any_byte_leaves_the_old_set(tmp_path: Path) -> None:
    with closing(PolicySetStore(tmp_path / "other")) as other:
        other.write(policy_set("a", 2))
        new = other.path("a").read_bytes()
    with closing(PolicySetStore(tmp_path / "store")) as store:
        store.write(old := policy_set("a", 1))
        for length in range(len(new) + 1):
            (store.folder / f"{PREFIX}crashed").write_bytes(new[:length])
            assert store._read() == {"a": old}
            assert not (store.folder / f"{PREFIX}crashed").exists()


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_acknowledged(
    store: PolicySetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        what = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("fsync folder" if what.is_dir() else "fsync file")
        fsync(descriptor)

    def traced_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(durable_file.os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_rename)
    store.write(policy_set("a"))
    assert steps == ["fsync file", "rename", "fsync folder"]
    store.remove("a")
    assert steps[3:] == ["fsync folder"]


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@settings(max_examples=60)
@given(
    name=texts,
    policies=st.lists(st.builds(Policy, texts, texts, st.lists(texts, max_size=2).map(tuple)), min_size=1),
)
def test_every_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, name: str, policies: list[Policy]
) -> None:
    try:
        given_set = PolicySet(name, tuple(policies), policies[0].name)
    except InvalidRequest:
        return
    with closing(PolicySetStore(tmp_path_factory.mktemp("store"))) as store:
        store.write(given_set)
        assert store._read() == {name: given_set}
