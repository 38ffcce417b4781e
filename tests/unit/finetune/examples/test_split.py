from hypothesis import given
from hypothesis import strategies as st

from archroute_export.finetune.examples.catalogue import Catalogue, domain_of
from archroute_export.finetune.examples.split import DIALOGUE_REQUESTS, Split, divide, few_of_each_dialogue
from archroute_export.finetune.examples.split_file import DrawnPolicies, SplitRules
from archroute_export.finetune.sources.labelled import LabelledRequest, Source
from support.labelled_sources import ask, make_source

RULES = SplitRules(test=frozenset({"own/d0"}), validation=frozenset({"own/d1"}))


def requests_of(catalogue: Catalogue) -> list[LabelledRequest]:
    return [request for found in catalogue.requests.values() for request in found]


def test_domains_go_where_the_rules_say() -> None:
    parts = divide([make_source()], RULES)
    for split, domains in ((Split.TEST, {"d0"}), (Split.VALIDATION, {"d1"}), (Split.TRAIN, {"d2", "d3"})):
        assert {policy.domain for policy in parts[split].policies.values()} == {f"own/{d}" for d in domains}
        assert {domain_of(str(r.policy)) for r in requests_of(parts[split])} == {f"own/{d}" for d in domains}


def test_requests_out_of_scope_are_dealt_out() -> None:
    source = make_source(out_of_scope=20)
    parts = divide([source], RULES)
    dealt = [request for split in Split for request in parts[split].out_of_scope["own"]]
    assert [len(parts[split].out_of_scope["own"]) for split in (Split.TRAIN, Split.TEST)] == [10, 7]
    assert sorted(request.messages[0].text for request in dealt) == sorted(
        request.messages[0].text for request in source.requests if request.policy is None
    )


def test_single_policies_are_drawn_for_the_test() -> None:
    overlap = ("own/d2/d2_p0", "own/d2/d2_p1")
    rules = SplitRules(test=RULES.test, test_policies=(DrawnPolicies("own", 2, seed=3),))
    parts = divide([make_source(overlaps=[overlap])], rules)
    tested = {policy for policy in parts[Split.TEST].policies if domain_of(policy) != "own/d0"}
    assert {
        domain: sum(domain_of(policy) == domain for policy in tested) for domain in map(domain_of, tested)
    } == {
        "own/d1": 2,
        "own/d2": 1,  # the other two overlap, so one of them would be seen
        "own/d3": 2,
    }
    assert not tested & set(parts[Split.TRAIN].policies)
    assert not tested & set(overlap)


def test_a_tested_policy_that_overlaps_one_that_trains_is_a_distractor_only() -> None:
    parts = divide([make_source(overlaps=[("own/d0/d0_p1", "own/d2/d2_p2")])], RULES)
    assert "own/d0/d0_p1" in parts[Split.TEST].policies
    assert set(parts[Split.TEST].requests) == {"own/d0/d0_p0", "own/d0/d0_p2"}
    assert "own/d2/d2_p2" in parts[Split.TRAIN].requests


def test_a_dialogue_that_crosses_the_border_is_used_up_to_there() -> None:
    source = make_source(requests=0)
    dialogue = (
        ask("first", "own/d2/d2_p0", group="1"),
        ask("second", "own/d0/d0_p0", earlier=frozenset({"own/d2/d2_p0"}), group="1"),
        ask("third", "own/d2/d2_p1", earlier=frozenset({"own/d2/d2_p0", "own/d0/d0_p0"}), group="1"),
    )
    source = Source(source.name, source.domains, source.policies, source.overlaps, dialogue)
    parts = divide([source], RULES)
    assert [request.messages[0].text for request in requests_of(parts[Split.TRAIN])] == ["first"]
    assert requests_of(parts[Split.TEST]) == []


def test_few_turns_of_each_dialogue_are_kept() -> None:
    long = [ask(f"long {n}", "own/d0/d0_p0", group="1") for n in range(9)]
    short = [ask("short", "own/d0/d0_p0", group="2"), ask("other policy", "own/d0/d0_p1", group="1")]
    single = [ask(f"single {n}", "own/d0/d0_p0") for n in range(9)]
    kept = few_of_each_dialogue([*long, *short, *single])
    assert kept[-11:] == [*short, *single]
    assert len(kept) == DIALOGUE_REQUESTS + 11
    assert kept == few_of_each_dialogue([*long, *short, *single])


def test_overlapping_policies_and_their_domains_conflict_both_ways() -> None:
    one, two, sibling = "own/d2/d2_p0", "own/d3/d3_p0", "own/d3/d3_p1"
    conflicts = divide([make_source(overlaps=[(one, two), (two, sibling)])], RULES)[Split.TRAIN].conflicts
    assert conflicts[one] == {two, "own/d3"}
    assert conflicts[two] == {one, "own/d2", sibling}
    assert conflicts[sibling] == {two}
    assert conflicts["own/d2"] == {two, "own/d3"}


def test_domains_are_kept_apart() -> None:
    rules = SplitRules(
        apart=frozenset({("own/d2", "two/d0")}),
        alone=frozenset({"two/d3"}),
        own_source_only=frozenset({"two/d1"}),
    )
    sources = [make_source("own"), make_source("two")]
    conflicts = divide(sources, rules)[Split.TRAIN].conflicts
    domains = {policy: set(map(domain_of, others)) for policy, others in conflicts.items()}
    own = {f"own/d{n}" for n in range(4)}
    assert domains["own/d2/d2_p0"] == {"two/d0", "two/d3", "two/d1"}
    assert domains["own/d0/d0_p0"] == {"two/d3", "two/d1"}
    assert domains["two/d0"] == {"own/d2", "two/d3"}
    assert domains["two/d1/d1_p2"] == {*own, "two/d3"}
    assert domains["two/d3/d3_p1"] == {*own, "two/d0", "two/d1", "two/d2"}


def test_a_whole_source_meets_no_other() -> None:
    rules = SplitRules(own_source_only=frozenset({"two"}))
    sources = [make_source("own"), make_source("two"), make_source("three")]
    conflicts = divide(sources, rules)[Split.TRAIN].conflicts
    met = {policy: {domain_of(other) for other in others} for policy, others in conflicts.items()}
    assert met["own/d0"] == {f"two/d{n}" for n in range(4)}
    assert met["two/d1/d1_p2"] == {f"{source}/d{n}" for source in ("own", "three") for n in range(4)}


def test_rules_may_name_sources_that_are_not_given() -> None:
    rules = SplitRules(
        test=frozenset({"gone/d0"}),
        test_policies=(DrawnPolicies("gone", 1, 0),),
        apart=frozenset({("gone/d0", "own/d2")}),
        alone=frozenset({"gone/d1"}),
    )
    parts = divide([make_source()], rules)
    assert not parts[Split.TRAIN].conflicts
    assert len(parts[Split.TRAIN].policies) == 16


DOMAINS = st.sampled_from([f"own/d{n}" for n in range(4)])
POLICIES = st.sampled_from([f"own/d{n}/d{n}_p{m}" for n in range(4) for m in range(3)])


@given(
    test=st.frozensets(DOMAINS),
    validation=st.frozensets(DOMAINS),
    overlaps=st.lists(st.tuples(POLICIES, POLICIES)),
    drawn=st.integers(0, 3),
    earlier=st.lists(st.tuples(POLICIES, st.frozensets(POLICIES, max_size=2)), max_size=6),
)
def test_nothing_is_in_two_splits(
    test: frozenset[str],
    validation: frozenset[str],
    overlaps: list[tuple[str, str]],
    drawn: int,
    earlier: list[tuple[str, frozenset[str]]],
) -> None:
    plain = make_source(overlaps=overlaps)
    dialogues = [ask(f"turn {n}", policy, earlier=before) for n, (policy, before) in enumerate(earlier)]
    source = Source(plain.name, plain.domains, plain.policies, plain.overlaps, (*plain.requests, *dialogues))
    rules = SplitRules(test, validation - test, (DrawnPolicies("own", drawn, 0),))
    parts = divide([source], rules)
    of_policy = [policy for split in Split for policy in parts[split].policies]
    assert sorted(of_policy) == sorted(policy.id for policy in (*source.domains, *source.policies))
    asked = [id(request) for split in Split for request in requests_of(parts[split])]
    assert len(asked) == len(set(asked))
    for split in Split:
        for policy, found in parts[split].requests.items():
            for request in found:
                assert {policy, request.policy, *request.earlier} <= parts[split].policies.keys() | {None}
                if split is not Split.TRAIN:
                    near = {other for pair in overlaps if policy in pair for other in pair}
                    assert near <= parts[split].policies.keys()
