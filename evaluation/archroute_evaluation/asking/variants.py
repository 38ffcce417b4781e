"""The same question in another form: policies in another order, or in other words."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from archroute_evaluation.asking.answer import Question
from archroute_server.router.policy import Policy, PolicySet


def shuffled(question: Question, count: int, seed: str) -> Iterator[Question]:
    """Give the question `count` times with its policies in an order that is not the first one.

    The orders follow from `seed` and may repeat. A single policy has no other order.
    """
    policies = question.policies.policies
    if len(policies) < 2:
        return
    source = random.Random(seed)
    for _ in range(count):
        order = list(policies)
        while tuple(order) == policies:
            source.shuffle(order)
        yield replace(question, policies=_with(question.policies, order))


def reworded(question: Question, wordings: Mapping[str, Sequence[str]], count: int) -> Iterator[Question]:
    """Give the question with other descriptions, at most `count` times.

    The n-th time, each policy has its n-th wording, or keeps its description if it has none left.
    """
    policies = question.policies.policies
    longest = max((len(wordings.get(policy.name, ())) for policy in policies), default=0)
    for turn in range(min(count, longest)):
        worded = [
            replace(policy, description=each[turn])
            if turn < len(each := wordings.get(policy.name, ()))
            else policy
            for policy in policies
        ]
        yield replace(question, policies=_with(question.policies, worded))


def _with(policies: PolicySet, changed: Sequence[Policy]) -> PolicySet:
    return replace(policies, policies=tuple(changed))
