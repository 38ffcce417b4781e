import random
import re

import pytest

from archroute_export.finetune.examples import naming
from archroute_export.finetune.sources.labelled import LabelledPolicy

REVIEW = LabelledPolicy("own/legal/contract_review", "own/legal", "contract_review", ("Contracts",))
RIDES = LabelledPolicy("sgd/RideSharing/GetRide2", "sgd/RideSharing", "GetRide2", ("Taxis",))
LEGAL = LabelledPolicy("own/legal", "own/legal", "legal", ("Law",))


@pytest.mark.parametrize(
    ("style", "review", "rides"),
    [
        (naming.as_is, "contract_review", "GetRide2"),
        (naming.snake_case, "contract_review", "get_ride2"),
        (naming.kebab_case, "contract-review", "get-ride2"),
        (naming.title_case, "Contract Review", "Get Ride2"),
        (naming.sentence_case, "Contract review", "Get ride2"),
        (naming.pascal_case, "ContractReview", "GetRide2"),
        (naming.camel_case, "contractReview", "getRide2"),
        (naming.prefixed("-"), "legal-contract_review", "ride_sharing-get_ride2"),
    ],
)
def test_styles(style: "naming.Style", review: str, rides: str) -> None:
    assert (style(REVIEW), style(RIDES)) == (review, rides)


def test_a_coarse_policy_has_no_prefix() -> None:
    assert naming.prefixed(".")(LEGAL) == "legal"


@pytest.mark.parametrize("seed", range(200))
def test_names_of_a_set_differ(seed: int) -> None:
    policies = [
        LabelledPolicy(f"own/d/{name}", "own/d", name, ("x",))
        for name in ("time_zone", "timezone", "timeZone", "time", "d_time")
    ]
    names = naming.name_policies(random.Random(seed), policies)
    assert len(set(names)) == len(policies)


@pytest.mark.parametrize("seed", range(50))
def test_identifiers_say_nothing(seed: int) -> None:
    names = naming.identifiers(random.Random(seed), 40)
    assert len(set(names)) == 40
    assert all(re.fullmatch(r"[a-zA-Z_#-]*\d+", name) for name in names)
    assert len({re.sub(r"\d", "", name) for name in names}) == 1


@pytest.mark.parametrize("seed", range(50))
def test_code_names_differ_and_share_a_pattern(seed: int) -> None:
    names = naming.code_names(random.Random(seed), 40)
    assert len(set(names)) == 40
    marks = {"".join(character for character in name if not character.isalpha()) for name in names}
    assert len(marks) == 1


def test_a_policy_may_be_named_after_a_short_wording() -> None:
    policy = LabelledPolicy(
        "own/homes/find_apartment",
        "own/homes",
        "find_apartment",
        ("apartment search", "The user is looking for a home to rent", "Home hunting."),
    )
    names = {naming.renamed_by_wording(random.Random(seed), policy).name for seed in range(30)}
    assert names == {"apartment_search", "home_hunting"}
    wordy = LabelledPolicy("own/d/p", "own/d", "p", ("A description of more than four words",))
    assert naming.renamed_by_wording(random.Random(0), wordy) == wordy


def test_sets_are_named_in_each_manner() -> None:
    policies = [
        LabelledPolicy(f"own/d/{name}", "own/d", name, (f"{name} wording",)) for name in ("alpha", "beta")
    ]
    drawn = [tuple(naming.name_policies(random.Random(seed), policies)) for seed in range(400)]
    assert ("alpha", "beta") in drawn
    assert ("alpha_wording", "beta_wording") in drawn
    neither = [names for names in drawn if "alpha" not in names[0].lower()]
    assert any(names[0][-1].isdigit() for names in neither)
    assert any(names[0].isalpha() for names in neither)
