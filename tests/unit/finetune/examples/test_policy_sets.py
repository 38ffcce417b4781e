import random
from dataclasses import replace
from itertools import permutations

import pytest

from archroute_export.finetune.examples.catalogue import Catalogue, source_of
from archroute_export.finetune.examples.policy_sets import Form, ShownSet, draw_policies, draw_size, show
from archroute_export.finetune.examples.settings import Settings
from archroute_export.finetune.examples.split import Split, divide
from archroute_export.finetune.examples.split_file import SplitRules
from archroute_export.finetune.sources.labelled import LabelledPolicy
from archroute_server.router.policy import Policy, PolicySet
from support.labelled_sources import ask, make_source

OVERLAPS = [("own/d0/d0_p0", "own/d1/d1_p0"), ("own/d2/d2_p0", "own/d2/d2_p1")]
SETTINGS = Settings()
ONE_SOURCE = Settings(mixed_sources=0.0, coarse_sets=0.0, half_coarse_sets=0.0)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    rules = SplitRules(apart=frozenset({("own/d3", "two/e3")}))
    second = make_source("two")
    renamed = [
        LabelledPolicy(
            policy.id.replace("/d", "/e"), policy.domain.replace("/d", "/e"), policy.name, policy.descriptions
        )
        for policy in second.policies
    ]
    two = type(second)("two", (), tuple(renamed), frozenset(), ())
    return divide([make_source(overlaps=OVERLAPS), two], rules)[Split.TRAIN]


def test_sizes_are_those_of_the_ranges_and_mostly_small() -> None:
    rng = random.Random(0)
    sizes = [draw_size(rng, SETTINGS) for _ in range(3000)]
    assert min(sizes) == 2
    assert 35 <= max(sizes) <= 40
    assert sum(3 <= size <= 14 for size in sizes) / len(sizes) > 0.7


@pytest.mark.parametrize("seed", range(60))
def test_policies_of_a_set_go_together(catalogue: Catalogue, seed: int) -> None:
    drawn = draw_policies(random.Random(seed), catalogue, "own", SETTINGS)
    assert all(catalogue.compatible(one, [other]) for one, other in permutations(drawn, 2))
    assert {policy.id for policy in drawn} <= catalogue.policies.keys()


def test_sets_hold_siblings_and_strangers(catalogue: Catalogue) -> None:
    rng = random.Random(0)
    drawn = [draw_policies(rng, catalogue, "own", ONE_SOURCE) for _ in range(200)]
    large = [policies for policies in drawn if len(policies) >= 4]
    assert all(source_of(policy.id) == "own" for policies in drawn for policy in policies)
    assert all(not policy.coarse for policies in drawn for policy in policies)
    assert any(len({policy.domain for policy in policies}) < len(policies) for policies in large)
    assert any(len({policy.domain for policy in policies}) > 1 for policies in large)


def test_the_domains_of_a_dialogue_come_together() -> None:
    plain = make_source(domains=12)
    ids = ("own/d1/d1_p0", "own/d7/d7_p2")
    turns = [ask(f"turn {number}", policy, group="own/only") for number, policy in enumerate(ids)]
    source = replace(plain, requests=(*plain.requests, *turns))
    catalogue = divide([source], SplitRules())[Split.TRAIN]
    settings = replace(ONE_SOURCE, sizes=((1.0, 4, 6),))

    def meet(dialogue_domains: float) -> int:
        rng, wanted = random.Random(0), replace(settings, dialogue_domains=dialogue_domains)
        sets = [draw_policies(rng, catalogue, "own", wanted) for _ in range(100)]
        return sum({"own/d1", "own/d7"} <= {policy.domain for policy in drawn} for drawn in sets)

    assert meet(1.0) > 3 * meet(0.0)


def test_sources_are_mixed_where_wanted(catalogue: Catalogue) -> None:
    settings = Settings(mixed_sources=1.0)
    rng = random.Random(0)
    drawn = [draw_policies(rng, catalogue, "own", settings) for _ in range(100)]
    assert any({source_of(policy.id) for policy in policies} == {"own", "two"} for policies in drawn)


@pytest.mark.parametrize(
    ("settings", "forms"),
    [
        (Settings(mixed_sources=0.0, coarse_sets=1.0, half_coarse_sets=0.0), {Form.DOMAIN}),
        (ONE_SOURCE, {Form.DOMAIN_ACTION}),
        (
            Settings(mixed_sources=0.0, half_coarse_sets=1.0, coarse_sets=0.0, replaced_by_coarse=0.6),
            set(Form),
        ),
    ],
)
def test_forms(catalogue: Catalogue, settings: Settings, forms: set[Form]) -> None:
    rng = random.Random(0)
    sets = [show(rng, draw_policies(rng, catalogue, "own", settings), catalogue) for _ in range(200)]
    assert {shown.form for shown in sets} == forms


def test_a_source_without_coarse_policies_keeps_its_fine_ones(catalogue: Catalogue) -> None:
    settings = Settings(mixed_sources=0.0, coarse_sets=1.0, half_coarse_sets=0.0)
    drawn = draw_policies(random.Random(1), catalogue, "two", settings)
    assert drawn
    assert all(not policy.coarse for policy in drawn)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_shown_is_a_valid_policy_set(catalogue: Catalogue, seed: int) -> None:
    rng = random.Random(seed)
    drawn = draw_policies(rng, catalogue, "own", SETTINGS)
    shown = show(rng, drawn, catalogue)
    PolicySet("", shown.shown)
    assert sorted(policy.id for policy in shown.labelled) == sorted(policy.id for policy in drawn)
    for labelled, policy in zip(shown.labelled, shown.shown, strict=True):
        assert shown.name(labelled.id) == policy.name


def test_the_order_is_shuffled(catalogue: Catalogue) -> None:
    policies = list(catalogue.by_domain["own/d3"])
    orders = {
        tuple(policy.id for policy in show(random.Random(seed), policies, catalogue).labelled)
        for seed in range(50)
    }
    assert len(orders) == 6


def test_a_policy_that_is_not_shown_has_no_name() -> None:
    with pytest.raises(KeyError):
        ShownSet((), ()).name("own/d0/d0_p0")


def test_rewordings_are_the_wordings_that_were_not_chosen() -> None:
    labelled = LabelledPolicy("own/d/a", "own/d", "a", ("one", "two", "three"))
    shown = ShownSet((labelled,), (Policy("A", "two"),))
    assert shown.rewordings() == {"A": ("one", "three")}
