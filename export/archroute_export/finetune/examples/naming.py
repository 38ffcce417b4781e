"""The names of policies, in the styles that people and programs use."""

import random
import re
from collections.abc import Callable, Sequence

from archroute_export.finetune.sources.labelled import LabelledPolicy

# Names one policy.
Style = Callable[[LabelledPolicy], str]

_WORD = re.compile(r"[^\W_]+")
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def words(name: str) -> list[str]:
    """Return the words of a name in any style: `RideSharing` and `ride_sharing` are `ride` and `sharing`."""
    return [word.lower() for word in _WORD.findall(_CAMEL_HUMP.sub(" ", name))]


def domain_name(policy: LabelledPolicy) -> str:
    """Return the name of a policy's domain, without its source."""
    return policy.domain.rpartition("/")[2]


def as_is(policy: LabelledPolicy) -> str:
    """Return the name as its author wrote it."""
    return policy.name


def snake_case(policy: LabelledPolicy) -> str:
    """`contract_review`."""
    return "_".join(words(policy.name))


def kebab_case(policy: LabelledPolicy) -> str:
    """`contract-review`."""
    return "-".join(words(policy.name))


def title_case(policy: LabelledPolicy) -> str:
    """`Contract Review`."""
    return " ".join(word.capitalize() for word in words(policy.name))


def sentence_case(policy: LabelledPolicy) -> str:
    """`Contract review`."""
    return " ".join(words(policy.name)).capitalize()


def pascal_case(policy: LabelledPolicy) -> str:
    """`ContractReview`."""
    return "".join(word.capitalize() for word in words(policy.name))


def camel_case(policy: LabelledPolicy) -> str:
    """`contractReview`."""
    name = pascal_case(policy)
    return name[:1].lower() + name[1:]


def prefixed(separator: str) -> Style:
    """`legal-contract_review`, with this separator. A coarse policy keeps its name."""

    def style(policy: LabelledPolicy) -> str:
        name = snake_case(policy)
        return name if policy.coarse else "_".join(words(domain_name(policy))) + separator + name

    return style


_STYLES: Sequence[tuple[float, Style]] = (
    (0.40, as_is),
    (0.10, snake_case),
    (0.10, kebab_case),
    (0.09, title_case),
    (0.04, sentence_case),
    (0.06, camel_case),
    (0.05, pascal_case),
    (0.03, prefixed("-")),
    (0.03, prefixed(".")),
    (0.02, prefixed("/")),
    (0.02, prefixed("_")),
)
_ID_PATTERNS = ("p{}", "P{}", "R{}", "route_{}", "policy_{}", "r-{}", "route-{:02}", "{}", "intent{}", "#{}")
# The share of sets whose names say nothing.
IDS = 0.10


def name_policies(rng: random.Random, policies: Sequence[LabelledPolicy]) -> list[str]:
    """Name the policies of a set, all in one style; the names differ if those of the policies do."""
    if rng.random() < IDS:
        return identifiers(rng, len(policies))
    shares, styles = zip(*_STYLES, strict=True)
    (style,) = rng.choices(styles, shares)
    names = [style(policy) for policy in policies]
    return names if len(set(names)) == len(names) else [policy.name for policy in policies]


def identifiers(rng: random.Random, count: int) -> list[str]:
    """Return names such as `p7` that say nothing: numbered in order, or at random."""
    pattern = rng.choice(_ID_PATTERNS)
    if rng.random() < 0.5:
        first = rng.choice((0, 1, 1, 1))
        return [pattern.format(number) for number in range(first, first + count)]
    return [pattern.format(number) for number in rng.sample(range(1, 2 * count + 50), count)]
