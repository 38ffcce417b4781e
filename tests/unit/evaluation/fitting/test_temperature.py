import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_evaluation.fitting.choices import Choice, ChoiceTable
from archroute_evaluation.fitting.temperature import HIGHEST, LOWEST, fit_temperature


def yes_or_no(said: float, right: int, wrong: int) -> ChoiceTable:
    """A model that always says yes with the probability `said`, and is so often right and wrong."""
    row = [math.log(said), math.log(1 - said)]
    return ChoiceTable([[Choice(row, 0)]] * right + [[Choice(row, 1)]] * wrong)


@pytest.mark.parametrize(("said", "right", "wrong"), [(0.99, 8, 2), (0.9, 6, 4), (0.6, 9, 1), (0.8, 8, 2)])
def test_the_temperature_by_hand(said: float, right: int, wrong: int) -> None:
    # Of two edges the softmax is a logistic function: it gives the share that is right where
    # logit(said) / T = logit(share).
    share = right / (right + wrong)
    expected = math.log(said / (1 - said)) / math.log(share / (1 - share))
    fit = fit_temperature(yes_or_no(said, right, wrong))
    assert fit.temperature == pytest.approx(expected, rel=1e-4)
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert fit.loss_after == pytest.approx(entropy, rel=1e-6)
    assert not fit.at_bound


def test_a_model_that_is_calibrated_stays_as_it_is() -> None:
    fit = fit_temperature(yes_or_no(0.75, 3, 1))
    assert fit.temperature == pytest.approx(1.0, abs=1e-5)
    assert fit.loss_after <= fit.loss_before


@pytest.mark.parametrize(("right", "wrong", "bound"), [(10, 0, LOWEST), (1, 9, HIGHEST)])
def test_what_no_temperature_fits_ends_at_a_bound(right: int, wrong: int, bound: float) -> None:
    fit = fit_temperature(yes_or_no(0.9, right, wrong))
    assert fit.temperature == pytest.approx(bound, rel=1e-3)
    assert fit.at_bound


def test_a_known_temperature_is_found_again() -> None:
    random = np.random.default_rng(5)
    examples = []
    for _ in range(4000):
        logits = 2.0 * random.standard_normal(5)
        shares = np.exp(logits) / np.exp(logits).sum()
        # What the model says is sharper than what is true: its logits are 2.5 times as large.
        said = 2.5 * logits
        said -= np.log(np.exp(said).sum())
        examples.append([Choice(said.tolist(), int(random.choice(5, p=shares)))])
    assert fit_temperature(ChoiceTable(examples)).temperature == pytest.approx(2.5, rel=0.05)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(-20, 0), min_size=2, max_size=4), st.integers(0, 1)),
        min_size=1,
        max_size=12,
    )
)
def test_no_other_temperature_fits_better(rows: list[tuple[list[float], int]]) -> None:
    table = ChoiceTable([[Choice(row, right)] for row, right in rows])
    fit = fit_temperature(table)
    assert LOWEST <= fit.temperature <= HIGHEST
    assert fit.loss_after <= fit.loss_before
    for other in np.geomspace(LOWEST, HIGHEST, 40):
        assert fit.loss_after <= table.loss(float(other)) + 1e-6
