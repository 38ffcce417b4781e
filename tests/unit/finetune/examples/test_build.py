from pathlib import Path

import pytest

from archroute_export.errors import ExportError
from archroute_export.finetune.examples.build import build_files
from archroute_export.finetune.examples.split_file import SplitRules
from archroute_server.router.example_file import read_examples
from support.labelled_sources import make_source

RULES = SplitRules(test=frozenset({"own/d0", "own/d1"}), validation=frozenset({"own/d2"}))


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writes_a_file_for_each_split(tmp_path: Path) -> None:
    source = make_source(domains=6)
    steps: list[tuple[int, int]] = []
    files = build_files(
        [source], RULES, tmp_path, sets=7, seed=0, progress=lambda done, total: steps.append((done, total))
    )
    assert {file.path.name: file.examples for file in files} == {
        path.name: len(read_examples(path)) for path in tmp_path.iterdir()
    }
    assert {path.name for path in tmp_path.iterdir()} == {
        "train.jsonl",
        "validation.jsonl",
        "test-own.jsonl",
    }
    assert steps == [(done, 7) for done in range(1, 8)]


def test_no_policy_and_no_request_is_in_two_files(tmp_path: Path) -> None:
    build_files([make_source(domains=6)], RULES, tmp_path, sets=30, seed=0)
    domains = {
        path.name: {
            message.text.split("/")[1]
            for example in read_examples(path)
            for message in example.messages
            if message.text.startswith("own/")
        }
        for path in tmp_path.iterdir()
    }
    assert domains == {
        "train.jsonl": {"d3", "d4", "d5"},
        "validation.jsonl": {"d2"},
        "test-own.jsonl": {"d0", "d1"},
    }
    for path, own in domains.items():
        described = " ".join(
            policy.description for example in read_examples(tmp_path / path) for policy in example.policies
        ).lower()
        assert not [f"own/d{n}" for n in range(6) if f"d{n}" not in own and f"own/d{n}" in described]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        build_files([make_source(domains=6)], RULES, tmp_path / folder, sets=5, seed=seed)
    assert read_all(tmp_path / "a") == read_all(tmp_path / "b")
    assert read_all(tmp_path / "a") != read_all(tmp_path / "c")


def test_a_split_without_requests_gets_no_file(tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl").write_text("of an earlier build")
    build_files([make_source()], SplitRules(), tmp_path, sets=2, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    rules = SplitRules(test=frozenset(f"own/d{n}" for n in range(4)))
    with pytest.raises(ExportError, match="no policy is left to train on"):
        build_files([make_source()], rules, tmp_path, sets=2, seed=0)


def test_two_sources_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="two sources are named 'own'"):
        build_files([make_source(), make_source()], SplitRules(), tmp_path, sets=2, seed=0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write .*train\.jsonl"):
        build_files([make_source()], SplitRules(), tmp_path / "file", sets=2, seed=0)
