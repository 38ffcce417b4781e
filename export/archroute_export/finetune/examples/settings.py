"""How varied the training examples are. Shares are probabilities, drawn anew for each set or conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Settings:
    """The mix of the training and the validation set."""

    # Of all sets, how many are built around each source; any other source counts as `other_sources`.
    # Only the proportions between the sources that are given matter.
    sources: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType(
            {"gateway": 0.25, "topics": 0.23, "services": 0.24, "clinc150": 0.11, "sgd": 0.17}
        )
    )
    other_sources: float = 0.45
    # Few, so that there are many sets: it is from many sets that a model learns to read them.
    requests_per_set: int = 5
    # The other turns of a dialogue cost little more to read, and show where it goes over to another policy.
    whole_dialogues: float = 0.8  # of those that a turn is drawn from
    examples_per_set: int = 14  # no further request is drawn for a set that has so many with such turns

    # Policies of a set: (share, smallest, largest); within a range the smaller ones are likelier.
    sizes: tuple[tuple[float, int, int], ...] = ((0.12, 2, 3), (0.76, 4, 13), (0.12, 14, 40))
    mixed_sources: float = 0.4
    dialogue_domains: float = 0.5  # where there are dialogues: the siblings are of the domains of one of them
    coarse_sets: float = 0.12  # coarse policies only
    half_coarse_sets: float = 0.18  # each policy is replaced by its domain's with `replaced_by_coarse`
    replaced_by_coarse: float = 0.35

    # Conversations.
    other: float = 0.18  # more than the share that results: not every set has a request that none fits
    other_out_of_scope: float = 0.3  # of those with `other`, where the source has requests out of scope
    other_near: float = 0.5  # of the rest: a sibling of the right policy stays in the set
    topic_switch: float = 0.12
    earlier_requests: tuple[float, ...] = (0.6, 0.2, 0.1, 0.06, 0.04)  # one, two, ... before a switch
    system_message: float = 0.06


VALIDATION_SOURCES: Mapping[str, float] = MappingProxyType({"gateway": 0.42, "clinc150": 0.30, "sgd": 0.28})
"""The sources' shares of the validation set: apart from those of the training, so that runs compare."""
