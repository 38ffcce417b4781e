from pathlib import Path

import pytest

from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.own_requests import read_own_requests
from archroute_server.router.message import Message, Role

LEGAL = """
domain:
  name: legal
  descriptions: [Anything about the law, law]
policies:
  - name: contract_review
    descriptions: [Reviewing contracts, contracts]
    overlaps: [clause_drafting]
    requests:
      - is clause 4 normal
      - language: de
        text: Darf mein Vermieter das?
      - turns:
          - user: here is my lease
          - assistant: Thanks. What is the question?
          - user: anything odd?
        also: [clause_drafting]
"""
DRAFTING = """
domain: {name: drafting, descriptions: [Writing legal texts]}
policies:
  - {name: clause_drafting, descriptions: [Writing clauses], requests: [write me an nda]}
"""
OUT_OF_SCOPE = "{out_of_scope: [turn off the lights], unless: [drafting]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "legal.yaml").write_text(LEGAL)
    (folder / "drafting.yaml").write_text(DRAFTING)
    (folder / "rest.yaml").write_text(OUT_OF_SCOPE)
    return folder


def test_reads_a_folder(folder: Path) -> None:
    source = read_own_requests(folder)
    assert source.name == "mine"
    assert [(domain.id, domain.descriptions, domain.coarse) for domain in source.domains] == [
        ("mine/drafting", ("Writing legal texts",), True),
        ("mine/legal", ("Anything about the law", "law"), True),
    ]
    assert [(policy.id, policy.domain, policy.coarse) for policy in source.policies] == [
        ("mine/drafting/clause_drafting", "mine/drafting", False),
        ("mine/legal/contract_review", "mine/legal", False),
    ]
    assert source.overlaps == {("mine/legal/contract_review", "mine/drafting/clause_drafting")}
    drafting, short, german, follow_up, unfit = source.requests
    assert drafting.policy == "mine/drafting/clause_drafting"
    assert short.messages == (Message(Role.USER, "is clause 4 normal"),)
    assert (short.policy, short.language) == ("mine/legal/contract_review", "en")
    assert german.language == "de"
    assert [message.role for message in follow_up.messages] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert follow_up.user_turns == 2
    assert follow_up.also == {"mine/drafting/clause_drafting"}
    assert (unfit.policy, unfit.also) == (None, {"mine/drafting"})


def test_reads_a_single_file(folder: Path) -> None:
    (folder / "drafting.yaml").rename(folder.parent / "ours.yaml")
    source = read_own_requests(folder.parent / "ours.yaml")
    assert [policy.id for policy in source.policies] == ["ours/drafting/clause_drafting"]


@pytest.mark.parametrize(
    ("found", "replacement", "line", "reason"),
    [
        ("name: legal", "names: legal", 3, "did you mean `name`?"),
        ("[clause_drafting]\n    requests", "[clause]\n    requests", 8, "'clause', which is no policy"),
        ("also: [clause_drafting]", "also: [tax]", 17, "'tax', which is no policy"),
        ("is clause 4 normal", "42", 10, "must be text, not the int 42; put it in quotes"),
        ("is clause 4 normal", "''", 10, "requests[0] is empty"),
        ("- user: anything odd?", "- assistant: Well?", 14, "must end with a turn of the user"),
        ("- user: here", "- human: here", 14, "unknown key `human`"),
        ("language: de\n", "turns: [user: hi]\n", 11, "either `text` or `turns`"),
        ("name: contract_review", "name: clause_drafting", 6, "'clause_drafting', as in drafting.yaml"),
        ("name: legal", "name: drafting", 3, "domain.name is 'drafting', as in drafting.yaml"),
        ("name: contract_review", "name: contract/review", 6, "a name has no '/'"),
        ("descriptions: [Reviewing contracts, contracts]", "descriptions: []", 7, "descriptions is empty"),
        ("domain:\n", "domain: [\n", 4, "is not valid YAML"),
    ],
)
def test_a_wrong_place_is_named(folder: Path, found: str, replacement: str, line: int, reason: str) -> None:
    assert found in LEGAL
    (folder / "legal.yaml").write_text(LEGAL.replace(found, replacement, 1))
    with pytest.raises(SourceError) as raised:
        read_own_requests(folder)
    assert reason in str(raised.value)
    assert (raised.value.path.name, raised.value.line) == ("legal.yaml", line)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("domain: {name: a, descriptions: [b]}", "the file has no `policies`"),
        ("{out_of_scope: [hi], policies: []}", "unknown key `policies`"),
        ("{out_of_scope: [hi], unless: [tax]}", "'tax', which is no domain of these files"),
        ("unless: [legal]", "unknown key `unless`"),
        ("- a", "must be a mapping"),
        ("a: \x07", "is not valid YAML"),
    ],
)
def test_a_file_that_says_nothing_is_refused(folder: Path, content: str, reason: str) -> None:
    (folder / "legal.yaml").write_text(content)
    with pytest.raises(SourceError, match=reason):
        read_own_requests(folder)


def test_a_file_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / "legal.yaml").write_bytes("domain: Bücher".encode("latin-1"))
    with pytest.raises(SourceError, match="is not UTF-8 text"):
        read_own_requests(folder)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no \.yaml files"):
        read_own_requests(tmp_path)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone: cannot be read: No such file"):
        read_own_requests(tmp_path / "gone")
