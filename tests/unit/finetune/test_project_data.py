"""The data of this project parses, covers what it should, and is split without leaking."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from archroute_export.finetune.examples.build import build_files
from archroute_export.finetune.examples.catalogue import domain_of
from archroute_export.finetune.examples.split import Split, divide
from archroute_export.finetune.examples.split_file import read_split_rules
from archroute_export.finetune.sources.labelled import Source
from archroute_export.finetune.sources.own_requests import read_own_requests
from archroute_export.finetune.sources.yaml_file import read_yaml
from archroute_server.router.example_file import read_examples
from archroute_server.router.message import Message
from archroute_server.router.policy import Policy, PolicySet

DATA = Path(__file__).parents[3] / "data"


@pytest.fixture(scope="module")
def gateway() -> Source:
    return read_own_requests(DATA / "gateway")


def test_there_are_policies_enough_with_requests_enough(gateway: Source) -> None:
    counts = Counter(request.policy for request in gateway.requests)
    assert sum(counts[policy.id] >= 25 for policy in gateway.policies) >= 60
    assert min(counts[policy.id] for policy in gateway.policies) >= 10
    assert counts[None] >= 50
    assert len({request.language for request in gateway.requests}) >= 10
    several_turns = {request.policy for request in gateway.requests if request.user_turns > 1}
    assert several_turns >= {policy.id for policy in gateway.policies}


@pytest.fixture(scope="module", params=["gateway", "topics", "services"])
def own(request: pytest.FixtureRequest) -> Source:
    return read_own_requests(DATA / request.param)


@pytest.mark.parametrize(("folder", "policies", "requests"), [("topics", 250, 8), ("services", 240, 5)])
def test_what_only_trains_is_as_varied(folder: str, policies: int, requests: int) -> None:
    source = read_own_requests(DATA / folder)
    counts = Counter(request.policy for request in source.requests)
    assert len(source.policies) >= policies
    assert min(counts[policy.id] for policy in source.policies) >= requests
    assert len({request.language for request in source.requests}) >= 9
    parts = divide([source], read_split_rules(DATA / "splits.yaml", [source]))
    assert not parts[Split.TEST].policies
    assert not parts[Split.VALIDATION].policies


def test_dialogues_go_from_policy_to_policy_and_domain_to_domain() -> None:
    requests = read_own_requests(DATA / "services").requests
    moved_on = [request for request in requests if request.earlier - {request.policy}]
    assert len(moved_on) >= 0.4 * len(requests)
    across = [
        request
        for request in moved_on
        if request.policy and domain_of(request.policy) not in map(domain_of, request.earlier)
    ]
    assert len(across) >= 200


def test_every_wording_is_a_valid_description(own: Source) -> None:
    for policy in (*own.domains, *own.policies):
        fewest = 2 if own.name == "services" and policy.coarse else 3
        assert len(set(policy.descriptions)) == len(policy.descriptions) >= fewest
        for number, description in enumerate(policy.descriptions):
            PolicySet("", (Policy(f"{policy.name} {number}", description),))


def test_the_same_request_has_one_answer_in_any_set(own: Source) -> None:
    parts = divide([own], read_split_rules(DATA / "splits.yaml", [own]))
    conflicts = parts[Split.TRAIN].conflicts
    labels: dict[tuple[Message, ...], list[str | None]] = {}
    for request in own.requests:
        labels.setdefault(request.messages, []).append(request.policy)
    for policies in labels.values():
        for one, other in combinations(policies, 2):
            assert one is not None
            assert other in conflicts[one]


def test_the_split_holds_for_the_whole_of_it(gateway: Source, tmp_path: Path) -> None:
    rules = read_split_rules(DATA / "splits.yaml", [gateway])
    parts = divide([gateway], rules)
    build_files([gateway], rules, tmp_path, sets=20, seed=0)
    for file, split in (
        ("train.jsonl", Split.TRAIN),
        ("validation.jsonl", Split.VALIDATION),
        ("test-gateway.jsonl", Split.TEST),
    ):
        wordings = {text for policy in parts[split].policies.values() for text in policy.descriptions}
        elsewhere = {
            text
            for other in Split
            if other is not split
            for policy in parts[other].policies.values()
            for text in policy.descriptions
        } - wordings
        examples = read_examples(tmp_path / file)
        shown = {policy.description for example in examples for policy in example.policies}
        assert shown & wordings
        assert not shown & elsewhere
        asked = {
            messages
            for other in Split
            if other is not split
            for requests in (*parts[other].requests.values(), *parts[other].out_of_scope.values())
            for messages in (request.messages for request in requests)
        }
        assert not {example.messages for example in examples} & asked


def test_domains_held_back_are_those_of_the_split_file(gateway: Source) -> None:
    rules = read_split_rules(DATA / "splits.yaml", [gateway])
    parts = divide([gateway], rules)
    tested = {domain_of(policy) for policy in parts[Split.TEST].policies}
    assert tested == {domain for domain in rules.test if domain.startswith("gateway/")}
    assert not tested & {domain_of(policy) for policy in parts[Split.TRAIN].policies}


@pytest.mark.parametrize("path", ["clinc150/policies.yaml", "sgd/policies.yaml"])
def test_the_descriptions_of_public_sets_parse(path: str) -> None:
    assert read_yaml(DATA / path).items()


def test_the_examples_of_the_readme_are_read(tmp_path: Path) -> None:
    blocks = (DATA / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    own, dialogues, unfit = (block.partition("```")[0] for block in blocks)
    (tmp_path / "own.yaml").write_text(own, encoding="utf-8")
    (tmp_path / "dialogues.yaml").write_text(dialogues, encoding="utf-8")
    (tmp_path / "unfit.yaml").write_text(unfit.replace("smart_home", "payroll"), encoding="utf-8")
    source = read_own_requests(tmp_path)
    names = ["order_pickup", "shorten_clothes", "payslip_questions", "working_time"]
    assert [policy.name for policy in source.policies] == names
    assert [request.user_turns for request in source.requests] == [1, 1, 2, 1, 1, 2, 3, 1, 1]
