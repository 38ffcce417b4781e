import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute_evaluation.metrics.risk_coverage import CurvePoint, area_under, risk_coverage
from support.outcomes import outcome


def answered(probability: float, right: bool):
    return outcome("a", "a" if right else "b", probability)


def test_the_curve_by_hand() -> None:
    curve = risk_coverage(
        [answered(0.5, False), answered(0.9, True), answered(0.8, False), answered(0.7, True)]
    )
    assert curve == [
        CurvePoint(0.9, 0.25, 0.0),
        CurvePoint(0.8, 0.5, 0.5),
        CurvePoint(0.7, 0.75, pytest.approx(1 / 3)),
        CurvePoint(0.5, 1.0, 0.5),
    ]
    # (0 + 1/2 + 1/3 + 1/2) / 4
    assert area_under(curve) == pytest.approx(1 / 3)


def test_equally_sure_answers_are_taken_together() -> None:
    outcomes = [answered(0.9, True), answered(0.6, False), answered(0.6, True)]
    curve = risk_coverage(outcomes)
    assert curve == [CurvePoint(0.9, pytest.approx(1 / 3), 0.0), CurvePoint(0.6, 1.0, pytest.approx(1 / 3))]
    assert risk_coverage(outcomes[::-1]) == curve
    assert area_under(curve) == pytest.approx(2 / 3 * 1 / 3)


def test_nothing_has_no_curve() -> None:
    assert risk_coverage([]) == []
    assert area_under([]) is None


@given(st.lists(st.builds(answered, st.floats(0, 1), st.booleans()), min_size=1))
def test_the_curve_ends_with_everything(outcomes: list) -> None:
    curve = risk_coverage(outcomes)
    area = area_under(curve)
    assert curve[-1].coverage == 1
    assert curve[-1].risk == pytest.approx(sum(not each.right for each in outcomes) / len(outcomes))
    assert [point.coverage for point in curve] == sorted({point.coverage for point in curve})
    assert area is not None
    assert -1e-9 <= area <= 1 + 1e-9
