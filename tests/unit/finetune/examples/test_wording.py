import random

import pytest

from archroute_export.finetune.examples import wording
from archroute_export.finetune.sources.labelled import LabelledPolicy

WORDINGS = ("Reviewing contracts.", "Contracts", "What to sign")
REVIEW = LabelledPolicy("own/legal/contract_review", "own/legal", "contract_review", WORDINGS)
LEGAL = LabelledPolicy("own/legal", "own/legal", "legal", ("The law",))


@pytest.mark.parametrize(
    ("choose", "description"),
    [
        (wording.first, "Reviewing contracts."),
        (wording.nth(2), "What to sign"),
        (wording.nth(4), "Contracts"),
        (wording.shortest, "Contracts"),
        (wording.name_only, "contract review"),
    ],
)
def test_wordings(choose: wording.Wording, description: str) -> None:
    assert choose(random.Random(0), REVIEW) == description


def test_any_wording_is_chosen() -> None:
    rng = random.Random(0)
    assert {wording.any_wording(rng, REVIEW) for _ in range(50)} == set(REVIEW.descriptions)


def test_the_domain_comes_before_a_wording_but_not_before_its_own() -> None:
    rng = random.Random(0)
    assert wording.with_domain(rng, REVIEW) in {f"Legal: {text}" for text in REVIEW.descriptions}
    assert wording.with_domain(rng, LEGAL) == "The law"


@pytest.mark.parametrize(
    ("write", "text", "written"),
    [
        (wording.plain, "A B.", "A B."),
        (wording.without_full_stop, "A B.", "A B"),
        (wording.with_full_stop, "A B", "A B."),
        (wording.with_full_stop, "A B?", "A B?"),
        (wording.in_lower_case, "A B.", "a b"),
    ],
)
def test_ways_of_writing(write: "wording.Writing", text: str, written: str) -> None:
    assert write(text) == written


def test_a_set_is_described_in_one_manner() -> None:
    manners = set()
    for seed in range(300):
        descriptions = wording.describe_policies(random.Random(seed), [REVIEW, REVIEW])
        assert all(descriptions)
        manners.add(tuple(descriptions))
    assert ("contract review", "contract review") in manners
    assert ("Reviewing contracts", "Reviewing contracts") in manners
    assert len(manners) > 10


def test_policies_described_by_their_requests() -> None:
    samples = {REVIEW.id: ["check this lease", "is clause 3 ok"]}
    described = {
        tuple(
            wording.describe_by_example(
                random.Random(seed), [REVIEW, LEGAL], lambda policy: samples.get(policy.id, [])
            )
        )
        for seed in range(100)
    }
    assert all('"check this lease", "is clause 3 ok"' in review for review, _ in described)
    assert any(review.startswith(WORDINGS) for review, _ in described)
    assert any(not review.startswith(WORDINGS) for review, _ in described)
    assert {legal for _, legal in described} == {"The law"}


def test_large_sets_are_not_described_by_their_requests() -> None:
    for size, quoted in ((4, True), (30, False)):
        sets = [
            wording.describe_policies(
                random.Random(seed), [REVIEW] * size, lambda policy: ["check this lease"]
            )
            for seed in range(60)
        ]
        assert any("check this lease" in described[0] for described in sets) is quoted
