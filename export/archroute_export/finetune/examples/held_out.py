"""The examples that test: of policies never trained on, each conversation with a set of its own.

They carry the wordings that were not chosen, so that an evaluation can tell how much the wording matters.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from types import MappingProxyType
from typing import TypeVar

from archroute_export.finetune.examples.catalogue import Catalogue, domain_of, source_of
from archroute_export.finetune.examples.episodes import labelled_example
from archroute_export.finetune.examples.naming import as_is, name_policies
from archroute_export.finetune.examples.policy_sets import ShownSet
from archroute_export.finetune.examples.wording import any_wording, first
from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest
from archroute_server.router.example import Example
from archroute_server.router.policy import OTHER, Policy


@dataclass(frozen=True)
class HeldOutSettings:
    """How the test of one source is built. Shares are probabilities."""

    examples: int = 500
    sizes: tuple[tuple[int, float], ...] = ((10, 0.8), (5, 0.1), (20, 0.1))
    other: float = 0.12
    siblings: float = 0.3  # each sibling of the right policy is sure to be there; the rest is drawn from all
    coarse: float = 0.1  # sets of coarse policies only, where enough domains of the source are tested
    user_turns: int = 1  # at least so many, where the source has them
    names_as_is: float = 0.8
    first_wording: float = 0.6


DEFAULT_TEST = HeldOutSettings()
TESTS: Mapping[str, HeldOutSettings] = MappingProxyType(
    {
        "clinc150": HeldOutSettings(sizes=((10, 1.0),), siblings=0.0),
        "sgd": HeldOutSettings(
            examples=400,
            sizes=tuple((size, 1.0) for size in range(6, 13)),
            other=0.1,
            siblings=0.0,
            user_turns=2,
        ),
    }
)

_ATTEMPTS = 60
# A set of coarse policies has at least so many.
_FEWEST_DOMAINS = 4
_Item = TypeVar("_Item")


def build_test(catalogue: Catalogue, source: str, settings: HeldOutSettings, seed: str) -> Iterator[Example]:
    """Yield the test of one source. The policies take turns, so that each is tested as often as the others.

    Where a source has requests out of scope, those are the ones with `other`, as long as there are any;
    elsewhere the right policy is left out of the set.
    """
    rng = random.Random(seed)
    domains = set(catalogue.domains_of(source))
    unused = {
        policy: _shuffled(rng, _long_enough(requests, settings.user_turns))
        for policy, requests in catalogue.requests.items()
        if source_of(policy) == source
    }
    owners = cycle(_shuffled(rng, [policy for policy, requests in unused.items() if requests]))
    out_of_scope = _shuffled(rng, catalogue.out_of_scope.get(source, ()))
    pool = [policy for domain in catalogue.domains_of(source) for policy in catalogue.by_domain[domain]]
    coarse_pool = [policy for policy in catalogue.policies.values() if policy.coarse and policy.id in domains]
    made = others = 0
    for _ in range(_ATTEMPTS * settings.examples):
        if made == settings.examples or not any(unused.values()):
            return
        other = others < round(settings.other * (made + 1))
        if other and out_of_scope:
            request = out_of_scope.pop()
        elif requests := unused[next(owners)]:
            request = requests.pop()
        else:
            continue
        coarse = len(coarse_pool) >= _FEWEST_DOMAINS and rng.random() < settings.coarse
        policies = _draw_set(rng, catalogue, coarse_pool if coarse else pool, request, settings, other=other)
        answer = catalogue.right_answer(request, policies)
        if policies and answer is not None and (answer == OTHER) == other:
            shown = _show(rng, policies, settings)
            example = labelled_example(catalogue, request, shown, request.messages)
            yield replace(example, rewordings=shown.rewordings())
            made += 1
            others += other


def _draw_set(
    rng: random.Random,
    catalogue: Catalogue,
    pool: Sequence[LabelledPolicy],
    request: LabelledRequest,
    settings: HeldOutSettings,
    *,
    other: bool,
) -> list[LabelledPolicy]:
    """Draw policies that go together, with the request's right one among them unless it is for `other`."""
    (size,) = rng.choices([size for size, _ in settings.sizes], [share for _, share in settings.sizes])
    shuffled = _shuffled(rng, pool)
    domain = domain_of(request.policy) if request.policy else ""
    right = [policy for policy in shuffled if policy.id in (request.policy, domain)]
    siblings = [policy for policy in shuffled if policy.domain == domain]
    near = [policy for policy in siblings if rng.random() < settings.siblings]
    drawn = [] if other else list(right)
    for policy in (*near, *shuffled):
        if len(drawn) >= size:
            break
        if catalogue.compatible(policy, (*drawn, *right)):
            drawn.append(policy)
    return drawn


def _show(rng: random.Random, policies: Sequence[LabelledPolicy], settings: HeldOutSettings) -> ShownSet:
    order = rng.sample(policies, len(policies))
    names = list(map(as_is, order)) if rng.random() < settings.names_as_is else name_policies(rng, order)
    wording = first if rng.random() < settings.first_wording else any_wording
    return ShownSet(
        tuple(order),
        tuple(Policy(name, wording(rng, policy)) for name, policy in zip(names, order, strict=True)),
    )


def _long_enough(requests: Sequence[LabelledRequest], user_turns: int) -> list[LabelledRequest]:
    return [request for request in requests if request.user_turns >= user_turns]


def _shuffled(rng: random.Random, items: Sequence[_Item]) -> list[_Item]:
    return rng.sample(items, len(items))
