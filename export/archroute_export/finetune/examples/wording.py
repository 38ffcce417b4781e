"""The descriptions of policies: which wording a set uses, and how it is written."""

import random
from collections.abc import Callable, Sequence

from archroute_export.finetune.examples.naming import domain_name, words
from archroute_export.finetune.sources.labelled import LabelledPolicy

# Chooses the description of one policy.
Wording = Callable[[random.Random, LabelledPolicy], str]
# Writes a description in some manner.
Writing = Callable[[str], str]


def first(rng: random.Random, policy: LabelledPolicy) -> str:
    """Return the first wording, which is the one to read in documentation."""
    return policy.descriptions[0]


def any_wording(rng: random.Random, policy: LabelledPolicy) -> str:
    """Return one of the wordings."""
    return rng.choice(policy.descriptions)


def nth(index: int) -> Wording:
    """Return the wording at `index`, counted around: the wordings of one index are alike in style."""
    return lambda rng, policy: policy.descriptions[index % len(policy.descriptions)]


def shortest(rng: random.Random, policy: LabelledPolicy) -> str:
    """Return the shortest wording."""
    return min(policy.descriptions, key=len)


def name_only(rng: random.Random, policy: LabelledPolicy) -> str:
    """Return the words of the name, for people who describe nothing."""
    return " ".join(words(policy.name))


def with_domain(rng: random.Random, policy: LabelledPolicy) -> str:
    """Return a wording after the words of the domain: `Legal: the review of contracts`."""
    wording = any_wording(rng, policy)
    return wording if policy.coarse else f"{' '.join(words(domain_name(policy))).capitalize()}: {wording}"


_WORDINGS: Sequence[tuple[float, Wording]] = (
    (0.24, first),
    (0.38, any_wording),
    (0.04, nth(1)),
    (0.05, nth(2)),
    (0.05, nth(3)),
    (0.06, shortest),
    (0.10, name_only),
    (0.08, with_domain),
)


def plain(text: str) -> str:
    """Leave a description as it is."""
    return text


def without_full_stop(text: str) -> str:
    """Drop the full stop at the end."""
    return text.removesuffix(".")


def with_full_stop(text: str) -> str:
    """Add a full stop unless there is some mark at the end."""
    return text if text[-1:] in ".!?…" else text + "."


def in_lower_case(text: str) -> str:
    """Write all of it in lower case."""
    return text.lower().removesuffix(".")


_WRITINGS: Sequence[tuple[float, Writing]] = (
    (0.6, plain),
    (0.2, without_full_stop),
    (0.12, with_full_stop),
    (0.08, in_lower_case),
)


# The share of sets that are described by requests that belong to them.
BY_EXAMPLE = 0.10
# A larger set would make too long a prompt of them.
_MOST_BY_EXAMPLE = 16
_EXAMPLE_PATTERNS = (
    'requests such as "{}"',
    'for example: "{}"',
    'e.g. "{}"',
    'when the user says something like "{}"',
)
# Samples of the requests of a policy; none if it has no short ones.
Samples = Callable[[LabelledPolicy], Sequence[str]]


def describe_policies(
    rng: random.Random, policies: Sequence[LabelledPolicy], samples: Samples = lambda policy: ()
) -> list[str]:
    """Describe the policies of a set, all in one manner."""
    if len(policies) <= _MOST_BY_EXAMPLE and rng.random() < BY_EXAMPLE:
        return describe_by_example(rng, policies, samples)
    (wording,) = rng.choices([wording for _, wording in _WORDINGS], [share for share, _ in _WORDINGS])
    (writing,) = rng.choices([writing for _, writing in _WRITINGS], [share for share, _ in _WRITINGS])
    return [writing(wording(rng, policy)) for policy in policies]


def describe_by_example(
    rng: random.Random, policies: Sequence[LabelledPolicy], samples: Samples
) -> list[str]:
    """Describe policies by their requests, after a wording or instead of it.

    Requests are many where wordings are few: what is described anew each time cannot be learned by heart.
    """
    pattern = rng.choice(_EXAMPLE_PATTERNS)
    after_wording = rng.random() < 0.5
    described = []
    for policy in policies:
        wording = any_wording(rng, policy)
        quoted = [pattern.format('", "'.join(found))] if (found := samples(policy)) else []
        described.append("; ".join([wording, *quoted] if after_wording or not quoted else quoted))
    return described
