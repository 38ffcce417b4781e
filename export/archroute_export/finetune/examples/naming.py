"""The names of policies, in the styles that people and programs use."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

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
# Names that teams give to models, queues and agents, and that say nothing of what they are for.
# fmt: off
_CODE_NAMES = (
    "amber", "apollo", "arrow", "atlas", "aurora", "badger", "bamboo", "basalt", "beacon", "birch",
    "bishop", "bravo", "breeze", "cactus", "canyon", "cedar", "charlie", "cobalt", "comet", "condor",
    "copper", "coral", "cosmos", "cricket", "crimson", "crystal", "cypress", "dakota", "dawn", "delta",
    "denim", "diamond", "dolphin", "dragon", "eagle", "echo", "ember", "emerald", "falcon", "fern", "fjord",
    "flint", "foxtrot", "galaxy", "garnet", "gecko", "ginger", "glacier", "granite", "harbor", "hazel",
    "heron", "hickory", "horizon", "indigo", "iris", "ivory", "jade", "jaguar", "jasmine", "juniper",
    "kestrel", "lagoon", "lantern", "lark", "lemon", "lily", "lotus", "lynx", "magnet", "mango", "maple",
    "marble", "meadow", "mercury", "meteor", "mint", "moss", "nebula", "nectar", "nova", "oak", "oasis",
    "ocean", "olive", "onyx", "opal", "orchid", "orion", "otter", "panda", "pearl", "pebble", "pepper",
    "phoenix", "pine", "planet", "plum", "polar", "prism", "quartz", "raven", "reef", "ripple", "river",
    "robin", "ruby", "saffron", "sage", "sierra", "silver", "sparrow", "spruce", "summit", "swan", "tango",
    "thunder", "tiger", "topaz", "tulip", "tundra", "turtle", "umbra", "valley", "velvet", "violet",
    "walnut", "willow", "yankee", "zebra", "zenith", "zephyr",
)
# fmt: on
_CODE_NAME_PATTERNS = ("{}", "{}", "{}", "team-{}", "model_{}", "{}-agent", "{}-7b", "queue.{}")
# The share of sets whose names say nothing: numbered, or code names.
IDS = 0.06
CODE_NAMES = 0.06
# Of the others, those that are named after a short wording of their description.
RENAMED = 0.25
_LONGEST_WORDING = 4


def name_policies(rng: random.Random, policies: Sequence[LabelledPolicy]) -> list[str]:
    """Name the policies of a set, all in one style; the names differ if those of the policies do."""
    kind = rng.random()
    if kind < IDS:
        return identifiers(rng, len(policies))
    if kind < IDS + CODE_NAMES:
        return code_names(rng, len(policies))
    shares, styles = zip(*_STYLES, strict=True)
    (style,) = rng.choices(styles, shares)
    renamed = [renamed_by_wording(rng, policy) for policy in policies] if rng.random() < RENAMED else policies
    names = [style(policy) for policy in renamed]
    return names if len(set(names)) == len(names) else [policy.name for policy in policies]


def renamed_by_wording(rng: random.Random, policy: LabelledPolicy) -> LabelledPolicy:
    """Name a policy after one of its short wordings, if there are any: `apartment_search`.

    A router that always meets a policy under one name learns the name by heart instead of reading it.
    """
    short = [found for text in policy.descriptions if 0 < len(found := words(text)) <= _LONGEST_WORDING]
    return replace(policy, name="_".join(rng.choice(short))) if short else policy


def code_names(rng: random.Random, count: int) -> list[str]:
    """Return names such as `falcon` or `team-cobalt` that say nothing, all in one pattern."""
    pattern = rng.choice(_CODE_NAME_PATTERNS)
    capital = rng.random() < 0.2
    drawn = rng.sample(_CODE_NAMES, count)
    return [pattern.format(word.capitalize() if capital else word) for word in drawn]


def identifiers(rng: random.Random, count: int) -> list[str]:
    """Return names such as `p7` that say nothing: numbered in order, or at random."""
    pattern = rng.choice(_ID_PATTERNS)
    if rng.random() < 0.5:
        first = rng.choice((0, 1, 1, 1))
        return [pattern.format(number) for number in range(first, first + count)]
    return [pattern.format(number) for number in rng.sample(range(1, 2 * count + 50), count)]
