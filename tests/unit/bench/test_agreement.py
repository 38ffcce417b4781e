import math

import pytest

from agreement import report, requests


def test_shares_are_of_all_and_of_those_where_the_reference_is_sure() -> None:
    # agrees, probability of the reference's choice, of the candidate's
    rows = [(True, 0.9, 0.8), (False, 0.7, 0.4), (True, 0.5, 0.5), (False, 0.3, 0.4)]
    figures = report(rows)
    assert figures == {
        "conversations": 4,
        "agreement": 0.5,
        "sure_conversations": 2,
        "agreement_where_sure": 0.5,
        "mean_change_of_top_probability": pytest.approx((0.1 + 0.3 + 0 + 0.1) / 4),
    }


def test_nothing_is_said_of_what_did_not_occur() -> None:
    assert math.isnan(report([(True, 0.2, 0.2)])["agreement_where_sure"])


def test_the_requests_are_five_hundred_conversations() -> None:
    made = requests(500)
    assert len(made) == 500
    # A few dialogues begin with the same sentence.
    assert len({tuple(messages) for _, messages in made}) == 495
    assert {len(policies.policies) for policies, _ in made} == {10}
    assert len({policies.revision for policies, _ in made}) == 5
    assert requests(500) == made
