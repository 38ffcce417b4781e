"""Dividing the sources into what trains, what validates, and what tests.

The border runs between policies, not between requests: a policy that is tested was never seen in training,
neither as the right answer nor as a distractor. Dialogues that cross the border are used on the side on which
they begin, as far as they stay there. A policy that is tested but overlaps one that trains is only a
distractor, because nearly the same was seen; so with one that validates.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import StrEnum
from itertools import combinations

from archroute_export.finetune.examples.catalogue import Catalogue, domain_of, source_of
from archroute_export.finetune.examples.split_file import DrawnPolicies, SplitRules
from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest, Source


class Split(StrEnum):
    """The parts of the data."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


# How many requests to keep of each dialogue and policy.
DIALOGUE_REQUESTS = 3

# Requests that fit no policy have no domain, so they are dealt out in these shares.
_OUT_OF_SCOPE_SHARES = {Split.TRAIN: 0.5, Split.TEST: 0.35, Split.VALIDATION: 0.15}


def divide(sources: Sequence[Source], rules: SplitRules) -> dict[Split, Catalogue]:
    """Return the catalogue of each split. Whatever the examples' seed, the split is the same."""
    parts = _policy_splits(sources, rules)
    seen = _seen(sources, parts)
    policies = {policy.id: policy for source in sources for policy in (*source.domains, *source.policies)}
    conflicts = _conflicts(sources, policies.values(), rules)
    requests: dict[Split, dict[str, list[LabelledRequest]]] = {split: defaultdict(list) for split in Split}
    for source in sources:
        for request in few_of_each_dialogue(source.requests):
            if request.policy is None or request.policy in seen:
                continue
            crossed = {parts[policy] for policy in (request.policy, *request.earlier)}
            if len(crossed) == 1:
                requests[crossed.pop()][request.policy].append(request)
    out_of_scope: dict[Split, dict[str, tuple[LabelledRequest, ...]]] = {split: {} for split in Split}
    for source in sources:
        for split, dealt in _deal([r for r in source.requests if r.policy is None]).items():
            out_of_scope[split][source.name] = dealt
    return {
        split: Catalogue(
            policies={key: policy for key, policy in policies.items() if parts[key] is split},
            conflicts=conflicts,
            requests={key: tuple(found) for key, found in requests[split].items()},
            out_of_scope=out_of_scope[split],
        )
        for split in Split
    }


def few_of_each_dialogue(requests: Sequence[LabelledRequest]) -> list[LabelledRequest]:
    """Keep, of each dialogue and policy, at most `DIALOGUE_REQUESTS`, in their order.

    The turns of a dialogue are much alike, and long dialogues would outweigh the short ones.
    """
    dialogues: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for position, request in enumerate(requests):
        if request.group:
            dialogues[request.group, request.policy].append(position)
    left_out: set[int] = set()
    for (group, policy), positions in dialogues.items():
        excess = max(0, len(positions) - DIALOGUE_REQUESTS)
        left_out |= set(random.Random(f"{group}/{policy}").sample(positions, excess))
    return [request for position, request in enumerate(requests) if position not in left_out]


def _policy_splits(sources: Iterable[Source], rules: SplitRules) -> dict[str, Split]:
    """Return the split of each policy and each domain's coarse one."""
    parts: dict[str, Split] = {}
    for source in sources:
        for policy in (*source.domains, *source.policies):
            parts[policy.id] = _domain_split(policy.domain, rules)
        overlapping = {policy for pair in source.overlaps for policy in pair}
        for drawn in rules.test_policies:
            if drawn.source == source.name:
                parts |= dict.fromkeys(_draw(source, drawn, parts, overlapping), Split.TEST)
    return parts


def _seen(sources: Iterable[Source], parts: Mapping[str, Split]) -> set[str]:
    """Return the policies held back that overlap one that trains, or one held back for something else."""
    return {
        policy
        for source in sources
        for pair in source.overlaps
        if parts[pair[0]] is not parts[pair[1]]
        for policy in pair
        if parts[policy] is not Split.TRAIN
    }


def _domain_split(domain: str, rules: SplitRules) -> Split:
    if domain in rules.test:
        return Split.TEST
    return Split.VALIDATION if domain in rules.validation else Split.TRAIN


def _draw(
    source: Source, drawn: DrawnPolicies, parts: Mapping[str, Split], overlapping: Set[str]
) -> list[str]:
    rng = random.Random(f"{source.name}/{drawn.seed}")
    found = []
    for domain in sorted({policy.domain for policy in source.policies}):
        candidates = [
            policy.id
            for policy in source.policies
            if policy.domain == domain and parts[policy.id] is Split.TRAIN and policy.id not in overlapping
        ]
        found += rng.sample(candidates, min(drawn.of_each_domain, len(candidates)))
    return found


def _deal(requests: Sequence[LabelledRequest]) -> dict[Split, tuple[LabelledRequest, ...]]:
    shuffled = list(requests)
    random.Random("out of scope").shuffle(shuffled)
    dealt, begin = {}, 0.0
    for split, share in _OUT_OF_SCOPE_SHARES.items():
        end = begin + share * len(shuffled)
        dealt[split] = tuple(shuffled[round(begin) : round(end)])
        begin = end
    return dealt


def _conflicts(
    sources: Iterable[Source], policies: Iterable[LabelledPolicy], rules: SplitRules
) -> dict[str, frozenset[str]]:
    """Return for each policy those that may not be in a set with it.

    If two policies of different domains overlap, so does the coarse policy of each domain with the other
    policy and with the other coarse one.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for one, other in source.overlaps:
            ones = {one} if domain_of(one) == domain_of(other) else {one, domain_of(one)}
            others = {other} if domain_of(one) == domain_of(other) else {other, domain_of(other)}
            for key in ones:
                found[key] |= others
            for key in others:
                found[key] |= ones
    by_domain: dict[str, set[str]] = defaultdict(set)
    for policy in policies:
        by_domain[policy.domain].add(policy.id)
    for one, other in combinations(by_domain, 2):
        if _kept_apart(one, other, rules):
            _set_apart(by_domain[one], by_domain[other], found)
    return {policy: frozenset(others) for policy, others in found.items()}


def _kept_apart(one: str, other: str, rules: SplitRules) -> bool:
    if {one, other} & rules.alone or (one, other) in rules.apart or (other, one) in rules.apart:
        return True
    sources = {source_of(one), source_of(other)}
    return len(sources) > 1 and bool({one, other, *sources} & rules.own_source_only)


def _set_apart(ones: set[str], others: set[str], found: dict[str, set[str]]) -> None:
    for key in ones:
        found[key] |= others
    for key in others:
        found[key] |= ones
