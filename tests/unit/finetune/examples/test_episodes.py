from collections import Counter
from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_export.finetune.examples.catalogue import Catalogue, domain_of
from archroute_export.finetune.examples.episodes import build_episodes
from archroute_export.finetune.examples.settings import Settings
from archroute_export.finetune.examples.split import Split, divide
from archroute_export.finetune.examples.split_file import SplitRules
from archroute_export.finetune.sources.labelled import LabelledRequest, Source
from archroute_server.router.example import Example
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER, PolicySet
from support.labelled_sources import make_source

POLICIES = st.sampled_from([f"own/d{n}/d{n}_p{m}" for n in range(4) for m in range(3)])
PLAIN = Settings(
    mixed_sources=0.0, coarse_sets=0.0, half_coarse_sets=0.0, topic_switch=0.0, system_message=0.0
)


def train(*sources: str) -> Catalogue:
    return divide([make_source(name) for name in sources or ("own",)], SplitRules())[Split.TRAIN]


def build(catalogue: Catalogue, settings: Settings, sets: int = 40, seed: str = "0") -> list[list[Example]]:
    return list(build_episodes(catalogue, settings, sets, seed))


def flat(episodes: list[list[Example]]) -> list[Example]:
    return [example for episode in episodes for example in episode]


def shows(example: Example, policy_id: str) -> bool:
    """Say whether a policy is in the set, by those of its wordings that no other policy has."""
    domain, number = policy_id.rpartition("/")[0], policy_id[-1]
    wordings = (f"about {domain} and {number}", f"more about {domain}, number {number}")
    return any(policy.description.lower().rstrip(".").endswith(wordings) for policy in example.policies)


@given(overlaps=st.lists(st.tuples(POLICIES, POLICIES), max_size=6), seed=st.integers(0, 10_000))
def test_the_answer_is_there_and_nothing_that_overlaps_it(overlaps: list[tuple[str, str]], seed: int) -> None:
    catalogue = divide([make_source(overlaps=overlaps)], SplitRules())[Split.TRAIN]
    settings = Settings(**{**vars(PLAIN), "sizes": ((1.0, 2, 12),)})
    for example in flat(build(catalogue, settings, 2, str(seed))):
        PolicySet("", example.policies)
        assert example.expected in {OTHER, *(policy.name for policy in example.policies)}
        if example.tags["case"] == "out-of-scope":
            assert example.expected == OTHER
            continue
        label = f"own/{example.tags['domain']}/{example.tags['label']}"
        overlapping = {other for pair in overlaps if label in pair for other in pair} - {label}
        assert not any(shows(example, other) for other in overlapping)
        assert not (example.expected == OTHER and shows(example, label))


def test_an_episode_has_one_policy_set_and_different_requests() -> None:
    for episode in build(train(), PLAIN):
        assert all(one.policies is other.policies for one, other in pairwise(episode))
        texts = [example.messages for example in episode]
        assert len(set(texts)) == len(texts)


def test_the_answers_of_an_episode_vary() -> None:
    settings = Settings(**{**vars(PLAIN), "other": 0.0, "sizes": ((1.0, 4, 6),)})
    for episode in build(train(), settings):
        answers = Counter(example.expected for example in episode)
        assert len(answers) >= 4
        assert max(answers.values()) - min(answers.values()) <= 1


def test_the_same_seed_gives_the_same_examples() -> None:
    assert build(train(), Settings(), 5, "1") == build(train(), Settings(), 5, "1")
    assert build(train(), Settings(), 5, "1") != build(train(), Settings(), 5, "2")


def test_more_sets_begin_with_the_same_ones() -> None:
    assert build(train(), Settings(), 6)[:3] == build(train(), Settings(), 3)


@pytest.mark.parametrize(
    ("changes", "cases"),
    [
        ({"other": 0.0}, {"in-scope"}),
        ({"other": 1.0, "other_out_of_scope": 1.0}, {"out-of-scope"}),
        ({"other": 1.0, "other_out_of_scope": 0.0, "other_near": 1.0}, {"removed-near"}),
        ({"other": 1.0, "other_out_of_scope": 0.0, "other_near": 0.0}, {"removed-far"}),
    ],
)
def test_how_other_comes_about(changes: dict[str, float], cases: set[str]) -> None:
    settings = Settings(**{**vars(PLAIN), "sizes": ((1.0, 2, 2),), "requests_per_set": 2, **changes})
    found = Counter(example.tags["case"] for example in flat(build(train(), settings)))
    # Now and then the set leaves no such request, and another one is asked.
    assert {case for case, _ in found.most_common(1)} == cases
    for example in flat(build(train(), settings)):
        assert (example.expected == OTHER) == (example.tags["case"] != "in-scope")


def test_the_coarse_policy_answers_for_its_domain() -> None:
    settings = Settings(**{**vars(PLAIN), "coarse_sets": 1.0, "other": 0.0})
    examples = flat(build(train(), settings))
    assert {example.tags["form"] for example in examples} == {"domain"}
    assert {example.tags["case"] for example in examples} == {"in-scope"}


def test_a_switch_of_topic_keeps_the_last_message() -> None:
    switched = flat(build(train(), Settings(**{**vars(PLAIN), "topic_switch": 1.0})))
    for example in switched:
        assert example.messages[-1].role is Role.USER
        assert len(example.messages) == 2 * int(example.tags["turns"]) - 1
        last = example.messages[-1].text
        if example.tags["case"] == "in-scope":
            assert domain_of(last) == f"own/{example.tags['domain']}"
            earlier = {message.text.rpartition(" ")[0] for message in example.messages[:-1:2]}
            assert last.rpartition(" ")[0] not in earlier
    assert {int(example.tags["turns"]) for example in switched} >= {2, 3, 4}


def test_the_other_turns_of_a_dialogue_are_asked_too() -> None:
    settings = Settings(**{**vars(PLAIN), "other": 0.0, "sizes": ((1.0, 6, 8),), "whole_dialogues": 1.0})
    single = Settings(**{**vars(settings), "whole_dialogues": 0.0})
    catalogue = divide([with_dialogues()], SplitRules())[Split.TRAIN]
    for episode in build(catalogue, settings):
        asked = {example.messages for example in episode}
        assert len(asked) == len(episode) < settings.examples_per_set + 3
        for example in episode:
            answers = {policy.name for policy in example.policies}
            assert example.expected in answers, "nothing is asked that no policy fits, if it shall not be"
    together, alone = (
        sum(
            _goes_on(one, other)
            for episode in build(catalogue, each)
            for one, other in permutations(episode, 2)
        )
        for each in (settings, single)
    )
    assert together > 4 * alone


def _goes_on(one: Example, other: Example) -> bool:
    """Say whether the second is a later turn of the first's dialogue."""
    return len(one.messages) < len(other.messages) and other.messages[: len(one.messages)] == one.messages


def with_dialogues() -> Source:
    """A source with 24 dialogues of three turns, each with a policy of its own, over two domains."""
    plain = make_source(requests=1)
    requests = []
    for number in range(24):
        messages: list[Message] = []
        for turn in range(3):
            policy = plain.policies[(number + 4 * turn) % len(plain.policies)]
            messages.append(Message(Role.USER, f"{policy.id} in dialogue {number}"))
            requests.append(LabelledRequest(tuple(messages), policy.id, group=f"own/{number}"))
            messages.append(Message(Role.ASSISTANT, "Yes."))
    return replace(plain, requests=(*plain.requests, *requests))


def test_a_system_message_comes_first() -> None:
    for example in flat(build(train(), Settings(**{**vars(PLAIN), "system_message": 1.0}), 3)):
        assert [message.role for message in example.messages] == [Role.SYSTEM, Role.USER]


def test_sources_are_mixed_in_their_proportion() -> None:
    settings = Settings(**{**vars(PLAIN), "sources": {"gateway": 0.75, "sgd": 0.25}})
    episodes = build(train("gateway", "sgd"), settings, 400)
    share = sum(episode[0].tags["source"] == "gateway" for episode in episodes) / len(episodes)
    assert share == pytest.approx(0.75, abs=0.07)


def test_out_of_scope_is_asked_only_among_policies_of_its_source() -> None:
    settings = Settings(
        mixed_sources=1.0, other=1.0, other_out_of_scope=1.0, coarse_sets=0.0, half_coarse_sets=0.0
    )
    for example in flat(build(train("own", "two"), settings)):
        if example.tags["case"] == "out-of-scope":
            assert example.messages[-1].text.startswith(f"{example.tags['source']} unfit")


def test_no_request_is_asked_that_describes_a_policy() -> None:
    quoted = 0
    for example in flat(build(train(), PLAIN, 80)):
        descriptions = [policy.description for policy in example.policies]
        quoted += any('"' in description for description in descriptions)
        assert not any(f'"{example.messages[-1].text}"' in description for description in descriptions)
    assert quoted
