import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_evaluation.fitting.minimum import MIN_ANSWERS, Minimum, propose_minimum
from archroute_evaluation.metrics.proportion import Proportion
from support.outcomes import outcome


def answered(probability: float, right: bool):
    return outcome("a", "a" if right else "b", probability)


OUTCOMES = [
    answered(0.9, True),
    answered(0.8, True),
    answered(0.7, False),
    answered(0.6, True),
    answered(0.5, False),
]


@pytest.mark.parametrize(
    ("precision", "minimum"),
    [
        (1.0, Minimum(pytest.approx(0.75), Proportion(2, 5), Proportion(2, 2))),
        # At 0.7 it would be two of three, and at 0.6 it is three of four.
        (0.75, Minimum(pytest.approx(0.55), Proportion(4, 5), Proportion(3, 4))),
        (0.6, Minimum(0.0, Proportion(5, 5), Proportion(3, 5))),
    ],
)
def test_the_least_minimum_that_is_precise_enough(precision: float, minimum: Minimum) -> None:
    assert propose_minimum(OUTCOMES, precision, min_answers=1) == minimum


def test_a_precision_that_only_few_answers_have_is_not_reached() -> None:
    assert propose_minimum(OUTCOMES, 1.0, min_answers=3) is None
    assert propose_minimum([answered(0.9, False)] * MIN_ANSWERS, 0.5) is None
    assert propose_minimum([answered(0.9, True)] * MIN_ANSWERS, 0.5) is not None
    assert propose_minimum([], 0.5) is None


@given(
    st.lists(st.builds(answered, st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.floats(0, 1)
)
def test_what_reaches_the_minimum_is_as_precise_as_it_says(outcomes: list, precision: float) -> None:
    found = propose_minimum(outcomes, precision, min_answers=1)
    if found is None:
        # Not even the surest answers are.
        surest = max(each.probability for each in outcomes)
        best = [each.right for each in outcomes if each.probability == surest]
        assert sum(best) < precision * len(best)
        return
    kept = [each for each in outcomes if each.probability >= found.probability]
    assert found.coverage == Proportion(len(kept), len(outcomes))
    assert found.precision == Proportion.of(each.right for each in kept)
    assert found.precision.hits >= precision * found.precision.total
