from collections import Counter
from dataclasses import replace

import pytest

from archroute_export.finetune.examples.catalogue import Catalogue
from archroute_export.finetune.examples.held_out import DEFAULT_TEST, HeldOutSettings, build_test
from archroute_export.finetune.examples.split import Split, divide
from archroute_export.finetune.examples.split_file import SplitRules
from archroute_export.finetune.sources.labelled import Source
from archroute_server.router.example import Example
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, PolicySet
from support.labelled_sources import ask, make_source

ALL = SplitRules(test=frozenset(f"own/d{n}" for n in range(5)))
SETTINGS = HeldOutSettings(examples=50, sizes=((6, 1.0),), other=0.2, siblings=0.0, coarse=0.0)


def held_out(source: Source) -> Catalogue:
    return divide([source], ALL)[Split.TEST]


def build(settings: HeldOutSettings = SETTINGS, seed: str = "0", **source: int) -> list[Example]:
    return list(build_test(held_out(make_source(domains=5, **source)), "own", settings, seed))


def test_each_conversation_has_a_set_of_the_wanted_size() -> None:
    examples = build()
    assert len(examples) == 50
    assert {len(example.policies) for example in examples} == {6}
    assert len({example.policies for example in examples}) == 50
    for example in examples:
        PolicySet("", example.policies)


def test_the_wanted_share_is_for_other() -> None:
    cases = Counter(example.tags["case"] for example in build(out_of_scope=0))
    assert cases.pop("in-scope") == 40
    assert sum(cases.values()) == 10
    assert {example.expected == OTHER for example in build() if example.tags["case"] != "in-scope"} == {True}


def test_requests_out_of_scope_come_first_for_other() -> None:
    assert Counter(example.tags["case"] for example in build(out_of_scope=100)) == {
        "in-scope": 40,
        "out-of-scope": 10,
    }


def test_policies_are_tested_equally_and_requests_once() -> None:
    examples = build(replace(SETTINGS, other=0.0))
    labels = Counter(example.tags["label"] for example in examples)
    assert len(labels) == 15
    assert max(labels.values()) - min(labels.values()) <= 1
    assert len({example.messages for example in examples}) == 50


def test_it_ends_when_the_requests_do() -> None:
    assert 0 < len(build(requests=1)) <= 15 + 2


def test_the_same_seed_gives_the_same_test() -> None:
    assert build() == build()
    assert build() != build(seed="1")


def test_long_conversations_where_wanted() -> None:
    source = make_source(domains=5, out_of_scope=0)
    turns = (Message(Role.USER, "a"), Message(Role.ASSISTANT, "b"), Message(Role.USER, "c"))
    long = replace(ask("", "own/d0/d0_p0"), messages=turns)
    catalogue = held_out(replace(source, requests=(*source.requests, long)))
    (example,) = build_test(catalogue, "own", replace(SETTINGS, user_turns=2, other=0.0), "0")
    assert example.tags["turns"] == "2"


def test_siblings_can_be_made_sure_of() -> None:
    for example in build(replace(SETTINGS, siblings=1.0, other=0.0, names_as_is=1.0)):
        domain = example.tags["domain"]
        assert {f"{domain}_p{n}" for n in range(3)} <= {policy.name for policy in example.policies}


def test_coarse_sets_where_there_are_enough_domains() -> None:
    coarse = replace(SETTINGS, coarse=1.0, other=0.0, names_as_is=1.0)
    for example in build(coarse):
        assert example.tags["form"] == "domain"
        assert example.expected == example.tags["domain"]
    few = divide([make_source(domains=3)], ALL)[Split.TEST]
    assert {example.tags["form"] for example in build_test(few, "own", coarse, "0")} == {"domain-action"}


def test_examples_carry_the_wordings_that_were_not_chosen() -> None:
    for example in build():
        assert set(example.rewordings) == {policy.name for policy in example.policies}
        for policy in example.policies:
            assert len(example.rewordings[policy.name]) == 2
            assert policy.description not in example.rewordings[policy.name]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_names_and_wordings_as_their_authors_wrote_them(share: float) -> None:
    settings = replace(DEFAULT_TEST, names_as_is=share, first_wording=share)
    examples = build(settings)
    as_written = [
        policy.name.partition("_")[2].startswith("p") and policy.description.startswith(("About", "All"))
        for example in examples
        for policy in example.policies
        if example.tags["form"] == "domain-action"
    ]
    assert all(as_written) == bool(share)
