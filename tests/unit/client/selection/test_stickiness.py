import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute import Outcome
from archroute.selection import Holding, Stickiness, Turn, Verdict
from archroute.testing import decision

POLICIES = ["code", "travel", "translation", "other"]


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    weights = draw(st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
    total = sum(weights)
    probabilities = {name: each / total for name, each in zip(POLICIES, weights, strict=True)}
    policy = draw(st.sampled_from([None, max(probabilities, key=probabilities.__getitem__)]))
    return Turn(policy, probabilities, draw(st.booleans()))


def sticky(**options: float) -> st.SearchStrategy[Stickiness]:
    return st.builds(Stickiness, margin=st.floats(0, 1), max_switches=st.integers(0, 4))


@given(sticky(), st.lists(turns(), max_size=40))
def test_switches_are_bounded_and_earned(stickiness: Stickiness, history: list[Turn]) -> None:
    holding = Holding()
    changes = 0
    for turn in history:
        after, verdict = stickiness.step(holding, turn)
        if holding.policy is not None and after.policy != holding.policy:
            changes += 1
            assert verdict is Verdict.SWITCHED
            assert turn.by_user
            assert after.policy == turn.policy
            assert after.policy is not None
            gained = turn.probabilities[after.policy] - turn.probabilities[holding.policy]
            assert gained >= stickiness.margin
        elif holding.policy is not None:
            assert verdict is not Verdict.SWITCHED
        holding = after
    assert holding.switches == changes <= stickiness.max_switches


@given(sticky(), st.lists(turns(), max_size=20), st.integers(0, 20))
def test_a_history_can_be_replayed_from_anywhere(
    stickiness: Stickiness, history: list[Turn], cut: int
) -> None:
    whole, verdicts = stickiness.replay(history)
    holding, first = stickiness.replay(history[:cut])
    for turn in history[cut:]:
        holding, verdict = stickiness.step(holding, turn)
        first += (verdict,)
    assert (holding, first) == (whole, verdicts)


def turn(policy: str | None, *, by_user: bool = True, **probabilities: float) -> Turn:
    return Turn(policy, probabilities, by_user)


@pytest.mark.parametrize(
    ("held", "next_turn", "expected", "verdict"),
    [
        (Holding(), turn("code", code=0.4), Holding("code"), Verdict.FIRST),
        (Holding(), turn("code", code=0.4, by_user=False), Holding("code"), Verdict.FIRST),
        (Holding(), turn(None), Holding(), Verdict.FIRST),
        (Holding("code"), turn("code", code=0.1), Holding("code"), Verdict.SAME),
        (Holding("code"), turn("travel", travel=0.5, code=0.4), Holding("code"), Verdict.WITHIN_MARGIN),
        (Holding("code"), turn("travel", travel=0.75, code=0.25), Holding("travel", 1), Verdict.SWITCHED),
        # A policy that is in the ranking no more has nothing to defend itself with.
        (Holding("gone"), turn("travel", travel=0.5), Holding("travel", 1), Verdict.SWITCHED),
        (Holding("code", 2), turn("travel", travel=0.9), Holding("code", 2), Verdict.SWITCHES_SPENT),
        (Holding("code"), turn(None, travel=0.9), Holding("code"), Verdict.UNSURE),
        (
            Holding("code"),
            turn("travel", travel=0.9, by_user=False),
            Holding("code"),
            Verdict.NOT_A_USER_TURN,
        ),
        (Holding("code"), turn("other", other=0.9), Holding("other", 1), Verdict.SWITCHED),
    ],
)
def test_each_rule(held: Holding, next_turn: Turn, expected: Holding, verdict: Verdict) -> None:
    assert Stickiness(margin=0.25, max_switches=2).step(held, next_turn) == (expected, verdict)


def test_a_turn_is_read_off_a_decision() -> None:
    matched = decision("code", ranking=[("travel", 0.5), ("code", 0.4)], probability=0.45)
    assert Turn.of(matched) == Turn("code", {"travel": 0.5, "code": 0.4})
    # A ranking that was cut still knows the choice.
    cut = decision("code", ranking=[("travel", 0.5)], probability=0.45)
    assert Turn.of(cut).probabilities == {"travel": 0.5, "code": 0.45}
    assert Turn.of(decision(None, probability=0.75)) == Turn("other", {"other": 0.75})
    unsure = decision(None, outcome=Outcome.LOW_CONFIDENCE, ranking=[("code", 0.2)])
    assert Turn.of(unsure, by_user=False) == Turn(None, {"code": 0.2}, by_user=False)


@pytest.mark.parametrize("wrong", [{"margin": -0.1}, {"margin": 1.1}, {"max_switches": -1}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="margin from 0 to 1"):
        Stickiness(**wrong)  # type: ignore[arg-type]


def dialogue(rng: random.Random, length: int) -> list[Turn]:
    """Turns about one thing after another, which the router sees through noise: each of four things lasts."""
    history, topic = [], rng.choice(POLICIES)
    for _ in range(length):
        if rng.random() < 0.1:
            topic = rng.choice(POLICIES)
        weights = {name: rng.expovariate(1) + (1.5 if name == topic else 0) for name in POLICIES}
        total = sum(weights.values())
        probabilities = {name: each / total for name, each in weights.items()}
        history.append(Turn(max(probabilities, key=probabilities.__getitem__), probabilities))
    return history


def test_a_margin_spares_most_switches() -> None:
    rng = random.Random(0)
    history = [dialogue(rng, 20) for _ in range(300)]

    def switches(margin: float) -> int:
        sticky = Stickiness(margin=margin, max_switches=20)
        return sum(sticky.replay(turns)[0].switches for turns in history)

    counts = [switches(margin) for margin in (0.0, 0.15, 0.3, 0.6)]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] < 0.75 * counts[0]
    assert counts[2] < 0.5 * counts[0]
